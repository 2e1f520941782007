"""The tokens of an answer as they are stored, over all the generations that wrote it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from chat.errors import MessageNotFound
from chat.models import Event, Generation, Message
from chat.packing import unpack
from chat.prompt_selectors import logged_tokens, output_ids


@dataclass(frozen=True, slots=True)
class Part:
    """What one generation wrote: the tokens from `first` on. Those before the first part were given
    to the answer. context: what the generation kept of how its prompt was read."""

    first: int
    sampling: dict[str, Any]
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """context: the tokens that were read before the answer. ids: of the answer, starts: where each
    one's text begins in it. parts: at least one, in order. fingerprint: of the model that wrote
    the last part."""

    message_id: uuid.UUID
    session_id: uuid.UUID
    parent_id: uuid.UUID
    content: str
    model: str
    fingerprint: dict[str, str]
    context: list[int]
    ids: list[int]
    starts: list[int]
    parts: list[Part]

    def text(self, index: int) -> str:
        """What the token added to the answer; '' where a later one completes its character."""
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.content)
        return self.content[self.starts[index] : end]

    def part(self, index: int) -> Part:
        """That wrote the token, or came first where the token was given to it."""
        return next((part for part in reversed(self.parts) if part.first <= index), self.parts[0])


def written(*, owner_id: uuid.UUID, message_id: uuid.UUID) -> Written:
    """Two queries, and one for each generation that was broken off by a crash. Raises
    MessageNotFound, for another owner's message, one of a person and one without tokens too."""
    message = Message.objects.filter(
        id=message_id, session__owner_id=owner_id, session__deleted_at=None
    ).first()
    first_delta = Event.objects.filter(generation=OuterRef("pk"), kind="message.delta")
    began = first_delta.order_by("seq").values("payload")[:1]
    generations = (
        list(message.generations.annotate(began=Subquery(began)).order_by("created_at"))
        if message
        else []
    )
    if message is None or message.parent_id is None or not generations:
        raise MessageNotFound(message_id)
    first, last = generations[0], generations[-1]
    begin = first.answer_start
    prompt = unpack(first.prompt_ids)
    ids, starts = prompt[begin:], unpack(first.prefix_offsets)
    parts: list[Part] = []
    for generation in generations:
        parts.append(Part(len(ids), generation.sampling, generation.context or {}))
        more, offsets = _own(generation)
        own = generation.began["offset"] if generation.began else len(message.content)
        ids += more
        starts += [min(own + offset, len(message.content)) for offset in offsets]
    return Written(
        message_id=message.id,
        session_id=message.session_id,
        parent_id=message.parent_id,
        content=message.content,
        model=last.model,
        fingerprint=last.fingerprint,
        context=prompt[:begin],
        ids=ids,
        starts=starts,
        parts=parts,
    )


def _own(generation: Generation) -> tuple[list[int], list[int]]:
    ids = output_ids(generation)
    offsets = unpack(generation.token_offsets)
    return (ids, offsets) if len(offsets) == len(ids) else logged_tokens(generation)
