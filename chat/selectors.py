"""Reads. Nothing here writes, and no function's query count grows with the rows it returns."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from chat.error_words import retold
from chat.errors import CannotContinue, MessageNotFound, SessionNotFound
from chat.models import Event, Generation, Message, Session
from chat.packing import of_shown_text, unpack
from chat.rows import has


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as a page or the API shows it; the numbers are its latest generation's."""

    id: uuid.UUID
    parent_id: uuid.UUID | None
    role: str
    content: str
    created_at: Any
    model: str = ""
    status: str = ""
    finish_reason: str = ""
    usage: dict[str, int] | None = None
    timings: dict[str, float] | None = None
    seed: int | None = None
    deterministic: bool = False
    error: dict[str, Any] | None = None
    can_continue: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """One branch, oldest message first, without the answer that is being written.

    after: the number from which a reader follows to get the rest. live_message: the answer being
    written, if one is, with the text that is stored so far.
    """

    session: Session
    messages: list[MessageView]
    after: int
    live_message: MessageView | None

    @property
    def live_message_id(self) -> uuid.UUID | None:
        return self.live_message.id if self.live_message else None


@dataclass(frozen=True, slots=True)
class PreviousTurn:
    """The generation on which the next prompt is spliced: its exact token ids."""

    model: str
    fingerprint: dict[str, str]
    prompt_ids: list[int]
    output_ids: list[int]


@dataclass(frozen=True, slots=True)
class ContinueContext:
    """answer_start: the index in the prompt at which the answer begins, its earlier parts too."""

    message_id: uuid.UUID
    previous: PreviousTurn
    sampling: dict[str, Any]
    answer_start: int


@dataclass(frozen=True, slots=True)
class PromptContext:
    """What a new message builds on. messages: [{role, content}, ...] from the root to parent_id."""

    parent_id: uuid.UUID | None
    messages: list[dict[str, str]]
    previous: PreviousTurn | None


def session_list(*, owner_id: uuid.UUID) -> QuerySet[Session]:
    """The owner's sessions, newest first, each with `live`: whether an answer is being written."""
    running = Generation.objects.filter(session=OuterRef("pk"), status="RUNNING")
    return sessions_of(owner_id).annotate(live=Exists(running))


def sessions_of(owner_id: uuid.UUID) -> QuerySet[Session]:
    """All that the owner has, without those that are about to be deleted."""
    return Session.objects.filter(owner_id=owner_id, deleted_at=None)


def session_get(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> Session:
    """Raises SessionNotFound, for another owner's session too."""
    session = sessions_of(owner_id).filter(id=session_id).first()
    if session is None:
        raise SessionNotFound(session_id)
    return session


def conversation(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, with_message: uuid.UUID | None = None
) -> Conversation:
    """The newest branch of a session, or its newest with a message of it, unless an answer is being
    written: then that one's. Raises SessionNotFound.

    The position is read before the messages: what happens in between is then told twice, and
    never missed.
    """
    session = session_get(owner_id=owner_id, session_id=session_id)
    started = (
        Event.objects.filter(
            session=session, kind="turn.started", generation__status=Generation.Status.RUNNING
        )
        .values_list("seq", "generation__message_id")
        .first()
    )
    live = started[1] if started else None
    messages = list(Message.objects.filter(session=session))
    branch = _branch(messages, None if live else _newest_below(messages, with_message))
    latest = _latest_generations(Generation.objects.filter(session=session))
    views = [_view(message, latest.get(message.id)) for message in branch]
    return Conversation(
        session=session,
        messages=[view for view in views if view.id != live],
        after=started[0] - 1 if started else session.last_seq,
        live_message=next((view for view in views if view.id == live), None),
    )


def _branch(messages: Iterable[Message], leaf: uuid.UUID | None = None) -> list[Message]:
    """From the root to `leaf`, or to the newest message."""
    by_id = {message.id: message for message in messages}
    newest = max(by_id.values(), key=lambda message: message.created_at, default=None)
    at = by_id.get(leaf) if leaf else newest
    path: list[Message] = []
    while at is not None:
        path.append(at)
        at = by_id.get(at.parent_id) if at.parent_id else None
    return path[::-1]


def _newest_below(messages: list[Message], root: uuid.UUID | None) -> uuid.UUID | None:
    """The newest message that descends from this one, or itself; None where it is not there."""
    below = {root} & {message.id for message in messages}
    newest: uuid.UUID | None = root if below else None
    for message in sorted(messages, key=lambda message: message.created_at) if below else ():
        if message.parent_id in below:
            below.add(message.id)
            newest = message.id
    return newest


def _latest_generations(generations: QuerySet[Generation]) -> dict[uuid.UUID, Generation]:
    rows = generations.defer("prompt_ids", "output_ids", "token_offsets").order_by("created_at")
    return {row.message_id: row for row in rows}


def _view(message: Message, generation: Generation | None) -> MessageView:
    base = (message.id, message.parent_id, message.role, message.content, message.created_at)
    if generation is None:
        return MessageView(*base)
    return MessageView(
        *base,
        model=generation.model,
        status=generation.status,
        finish_reason=generation.finish_reason,
        usage={
            "prompt_tokens": generation.prompt_tokens,
            "output_tokens": generation.output_tokens,
            "cached_tokens": generation.cached_tokens,
        },
        timings=generation.timings,
        seed=generation.seed,
        deterministic=generation.deterministic,
        error=retold(generation.error),
        can_continue=generation.can_continue,
    )


def prompt_context(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, parent_id: uuid.UUID | None, newest: bool
) -> PromptContext:
    """The branch that ends in `parent_id` (or, if `newest`, in the newest message) and the
    generation that wrote its end. Raises SessionNotFound, MessageNotFound."""
    session = session_get(owner_id=owner_id, session_id=session_id)
    if not newest and parent_id is None:
        return PromptContext(None, [], None)
    branch = _branch(Message.objects.filter(session=session), None if newest else parent_id)
    if not branch:
        if newest:
            return PromptContext(None, [], None)
        raise MessageNotFound(parent_id)
    leaf = branch[-1]
    return PromptContext(
        parent_id=leaf.id,
        messages=[{"role": message.role, "content": message.content} for message in branch],
        previous=_previous(leaf.generations.order_by("created_at").last()),
    )


def _previous(generation: Generation | None) -> PreviousTurn | None:
    if generation is None:
        return None
    return PreviousTurn(
        generation.model,
        generation.fingerprint,
        unpack(generation.prompt_ids),
        output_ids(generation),
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
    answer_start = len(unpack(generations[0].prompt_ids))
    return ContinueContext(message_id, previous, latest.sampling, answer_start)


def turn_of_client_id(*, owner_id: uuid.UUID, client_id: str) -> tuple[uuid.UUID, int] | None:
    """(session, number of turn.started) of the message already taken under this name, or None."""
    if not has(Message, "client_id", client_id):  # as almost always, and cheap
        return None
    found = Event.objects.filter(
        kind="turn.started",
        session__owner_id=owner_id,
        generation__message__parent__client_id=client_id,
    )
    return found.values_list("session_id", "seq").order_by("seq").first()


def sessions_known(*, names: Iterable[str]) -> set[str]:
    """Those of the names that are ids of sessions; a few thousand at most are asked for."""
    ids = [id for name in names if (id := _uuid(name))]
    return {str(id) for id in Session.objects.filter(id__in=ids).values_list("id", flat=True)}


def _uuid(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None
