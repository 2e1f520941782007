"""What a model is shown of files with a message on its way in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.conf import settings

from chat.context.reading import Asked, read
from chat.files import prompt, selectors, vectors
from chat.files.errors import FilesNotRead, NoRoomForFiles, TooManyFiles
from chat.files.ranking import Bm25Ranker, Ranker
from chat.files.services import Shown
from chat.models import File
from chat.prompt_selectors import PromptContext
from chat.submission import Submission
from inference.types import ModelKind

RANKER: Ranker = Bm25Ranker()


def shown_with(
    how: Asked,
    *,
    owner_id: uuid.UUID,
    submission: Submission,
    context: PromptContext,
) -> Shown | None:
    """None where no file has to do with the message. Without files of its own, those are searched
    of which the conversation has read passages so far.

    Raises FileNotFound, TooManyFiles, FilesNotRead, NoRoomForFiles, ContextLengthExceeded."""
    codec, ids = how.codec, list(dict.fromkeys(submission.files))
    if submission.spoken:  # the results of tools, in which nobody asks for a passage
        return None
    if len(ids) > settings.TINYLLM_FILES_PER_MESSAGE:
        raise TooManyFiles(len(ids), settings.TINYLLM_FILES_PER_MESSAGE)
    before = [passage for each in context.readings.values() for passage in each.passages]
    again = [] if ids else prompt.only_in_parts(before)
    if not ids and not again:
        return None
    if codec.kind is ModelKind.COMPLETION:
        if ids:
            raise FilesNotRead(submission.model)
        return None
    files = selectors.files_named(owner_id=owner_id, ids=ids or again)
    found = _found(how, files, submission, context, before, anew=bool(ids))
    if not found:
        return None
    text = prompt.prompt_text(codec, found, submission.text)
    added = len(codec.encode(text)) - len(codec.encode(submission.text))
    own = files if ids else []
    return Shown(own, text, added, [passage.stored() for passage in found])


def _found(
    how: Asked,
    files: Sequence[File],
    submission: Submission,
    context: PromptContext,
    before: list[dict[str, Any]],
    *,
    anew: bool,
) -> list[prompt.Passage]:
    """anew: they are the message's own. Of files that do not all fit, small ones and passages of
    the others take half of the room; passages that are looked for once more, a quarter: the
    conversation is to go on."""
    codec, first = how.codec, prompt.next_number(before)
    room = _room(how, submission, context)
    best = partial(prompt.best, codec, question=submission.text)
    if not anew:
        known = [(passage["file"], passage["start"]) for passage in before]
        # by words alone: vectors cannot say that nothing has to do with it
        again = best(files, ranker=RANKER, room=room // 4, known=known, matching_only=True)
        return prompt.numbered(again, files, first=first)
    found = prompt.whole(codec, files, room=room) if room >= prompt.LEAST_ROOM else None
    if found is None:
        found = prompt.small(codec, files, room=room // 4)
        rest = [file for file in files if file not in [part.file for part in found]]
        left = room // 2 - prompt.tokens(codec, found)
        found += best(rest, ranker=vectors.ranker(rest, RANKER), room=left)
    if not found:
        names = [file.name for file in files]
        raise NoRoomForFiles(names, max(0, room), codec.context_length)
    return prompt.numbered(found, files, first=first)


def _room(how: Asked, submission: Submission, context: PromptContext) -> int:
    """Tokens that the conversation, the message and an answer leave."""
    messages = [*context.messages, {"role": "user", "content": submission.text}]
    length = how.codec.context_length
    return length - len(read(how, context, messages).ids) - prompt.reply_room(length)
