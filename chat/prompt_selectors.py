"""What a prompt is made of: the branch that it continues, and the tokens of the turn before it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from chat.branches import branch
from chat.errors import CannotContinue, MessageNotFound
from chat.files import selectors as files
from chat.models import Generation, Message, MessageReading, Summary
from chat.packing import of_shown_text, unpack
from chat.selectors import session_get
from chat.session_settings.values import when_full


@dataclass(frozen=True, slots=True)
class PreviousTurn:
    """The generation on which the next prompt is spliced: its exact token ids. context: what was in
    front of the conversation, and what left out (`chat.context.reading`)."""

    model: str
    fingerprint: dict[str, str]
    prompt_ids: list[int]
    output_ids: list[int]
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownSummary:
    """What a model may read in place of the oldest messages of a branch. messages: how many."""

    id: uuid.UUID
    messages: int
    text: str


@dataclass(frozen=True, slots=True)
class ContinueContext:
    """answer_start: the index in the prompt at which the answer begins, its earlier parts too."""

    message_id: uuid.UUID
    previous: PreviousTurn
    sampling: dict[str, Any]
    answer_start: int


@dataclass(frozen=True, slots=True)
class PromptContext:
    """What a new message builds on. messages: [{role, content}, ...] from the root to parent_id, as
    a model reads them, ids: theirs. settings: the session's. readings: of those that were read
    with files, in this order. summaries: of the beginning of this branch, the shortest first; only
    where they are wanted."""

    parent_id: uuid.UUID | None
    messages: list[dict[str, str]]
    previous: PreviousTurn | None
    settings: dict[str, Any] = field(default_factory=dict)
    readings: dict[uuid.UUID, MessageReading] = field(default_factory=dict)
    ids: list[uuid.UUID] = field(default_factory=list)
    summaries: list[KnownSummary] = field(default_factory=list)


def prompt_context(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, parent_id: uuid.UUID | None, newest: bool
) -> PromptContext:
    """The branch that ends in `parent_id` (or, if `newest`, the one that is shown) and the
    generation that wrote its end. Raises SessionNotFound, MessageNotFound."""
    session = session_get(owner_id=owner_id, session_id=session_id)
    settings = session.settings or {}
    if not newest and parent_id is None:
        return PromptContext(None, [], None, settings=settings)
    path = branch(list(Message.objects.filter(session=session)), None if newest else parent_id)
    if not path:
        if newest:
            return PromptContext(None, [], None, settings=settings)
        raise MessageNotFound(parent_id)
    return _built_on(path, path[-1], settings)


def regenerate_context(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
) -> PromptContext:
    """The branch that ends in what the answer `message_id` answers (or in `message_id`, of the
    user's), and the generation before that. Raises SessionNotFound, MessageNotFound."""
    session = session_get(owner_id=owner_id, session_id=session_id)
    path = branch(list(Message.objects.filter(session=session)), message_id)
    if path and path[-1].role == Message.Role.ASSISTANT:
        path.pop()
    if not path:
        raise MessageNotFound(message_id)
    return _built_on(path, path[-2] if len(path) > 1 else None, session.settings or {})


def _built_on(
    path: list[Message], answer: Message | None, settings: dict[str, Any]
) -> PromptContext:
    generation = answer.generations.order_by("created_at").last() if answer else None
    readings = files.readings(path)
    seen = {message_id: reading.prompt_text for message_id, reading in readings.items()}
    return PromptContext(
        parent_id=path[-1].id,
        messages=[{"role": each.role, "content": seen.get(each.id, each.content)} for each in path],
        previous=_previous(generation),
        settings=settings,
        readings=readings,
        ids=[each.id for each in path],
        summaries=_summaries(path) if when_full(settings) == "summarise" else [],
    )


def _summaries(path: list[Message]) -> list[KnownSummary]:
    """Those that reach to a message of this branch: others were made of other words."""
    rows = Summary.objects.filter(session_id=path[0].session_id)
    ids = {each.id for each in path}
    return [KnownSummary(row.id, row.messages, row.text) for row in rows if row.message_id in ids]


def turn_of(*, message_id: uuid.UUID) -> PreviousTurn | None:
    """The generation that wrote the end of an answer, as the turn after it builds on it."""
    return _previous(Generation.objects.filter(message=message_id).order_by("created_at").last())


def _previous(generation: Generation | None) -> PreviousTurn | None:
    if generation is None or not generation.prompt_ids:  # an imported one has no tokens
        return None
    return PreviousTurn(
        generation.model,
        generation.fingerprint,
        unpack(generation.prompt_ids),
        output_ids(generation),
        generation.context or {},
    )


def output_ids(generation: Generation) -> list[int]:
    """The tokens a generation wrote: of the row, or of the log where the row was ended for it."""
    if generation.output_ids or generation.status in ("DONE", "STOPPED"):
        return unpack(generation.output_ids)
    return logged_tokens(generation)[0]


def logged_tokens(generation: Generation) -> tuple[list[int], list[int]]:
    """Ids and text offsets of the text that reached the log."""
    ids: list[int] = []
    offsets: list[int] = []
    length = 0
    for payload in generation.events.filter(kind="message.delta").values_list("payload", flat=True):
        ids += payload["ids"]
        offsets += payload["offsets"]
        length += len(payload["text"])
    return of_shown_text(ids, offsets, length)


def continue_context(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
) -> ContinueContext:
    """What continues an answer that ended early.

    Raises SessionNotFound, MessageNotFound, CannotContinue.
    """
    session = session_get(owner_id=owner_id, session_id=session_id)
    message = Message.objects.filter(id=message_id, session=session).first()
    if message is None:
        raise MessageNotFound(message_id)
    generations = list(message.generations.order_by("created_at"))
    latest = generations[-1] if generations else None
    previous = _previous(latest)
    if latest is None or previous is None or not latest.can_continue:
        raise CannotContinue(message_id)
    start = generations[0].answer_start
    return ContinueContext(message_id, previous, latest.sampling, start)
