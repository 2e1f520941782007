"""Reads. Nothing here writes, and no function's query count grows with the rows it returns."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from chat.branches import branch, versions
from chat.error_words import retold
from chat.errors import SessionNotFound
from chat.files import selectors as files
from chat.models import (
    Event,
    Generation,
    Message,
    Session,
    rating_of,
    sessions_of,
)
from chat.rows import has


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as a page or the API shows it; the numbers are its latest generation's. versions:
    the messages in the same place of the tree, itself among them, oldest first. files: of a message
    that has some; passages: of files, that an answer was written with."""

    id: uuid.UUID
    parent_id: uuid.UUID | None
    role: str
    content: str
    created_at: Any
    versions: list[uuid.UUID]
    model: str = ""
    status: str = ""
    finish_reason: str = ""
    usage: dict[str, int] | None = None
    timings: dict[str, float] | None = None
    seed: int | None = None
    deterministic: bool = False
    error: dict[str, Any] | None = None
    can_continue: bool = False
    files: list[dict[str, Any]] = field(default_factory=list)
    passages: list[dict[str, Any]] = field(default_factory=list)
    rating: int = 0
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The branch that is shown, oldest message first, without the answer that is being written.

    after: the number from which a reader follows to get the rest. live_message: the answer being
    written, if one is in this branch, with the text that is stored so far. running: the id of the
    answer being written, in whichever branch.
    """

    session: Session
    messages: list[MessageView]
    after: int
    live_message: MessageView | None
    running: uuid.UUID | None

    @property
    def live_message_id(self) -> uuid.UUID | None:
        return self.live_message.id if self.live_message else None


def session_list(*, owner_id: uuid.UUID) -> QuerySet[Session]:
    """The owner's sessions, newest first, each with `live`: whether an answer is being written."""
    running = Generation.objects.filter(session=OuterRef("pk"), status="RUNNING")
    return sessions_of(owner_id).annotate(live=Exists(running))


def session_get(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> Session:
    """Raises SessionNotFound, for another owner's session too."""
    session = sessions_of(owner_id).filter(id=session_id).first()
    if session is None:
        raise SessionNotFound(session_id)
    return session


def session_position(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> tuple[int, uuid.UUID | None]:
    """(number of the last event once no turn is live, end of the branch that is shown). Raises
    SessionNotFound."""
    shown = Message.objects.filter(session=OuterRef("pk")).order_by("-shown_at").values("id")[:1]
    found = sessions_of(owner_id).filter(id=session_id)
    position = found.values_list("last_seq", Subquery(shown)).first()
    if position is None:
        raise SessionNotFound(session_id)
    last_seq, end = position
    return last_seq, end


def conversation(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> Conversation:
    """The branch of a session that is shown. Raises SessionNotFound.

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
    began, running = started or (session.last_seq, None)
    messages = list(Message.objects.filter(session=session).select_related("feedback"))
    written = generations_of(Generation.objects.filter(session=session))
    beside = versions(messages)
    shown = branch(messages)
    views = files.with_files(
        shown, [view_of(each, beside[each.parent_id], written.get(each.id, [])) for each in shown]
    )
    live = next((view for view in views if view.id == running), None)
    return Conversation(
        session=session,
        messages=[view for view in views if view.id != running],
        # What an answer elsewhere has begun is not to be shown here.
        after=began - 1 if live else began,
        live_message=live,
        running=running,
    )


def generations_of(generations: QuerySet[Generation]) -> dict[uuid.UUID, list[Generation]]:
    """By message, oldest first, without their tokens."""
    packed = ("prompt_ids", "output_ids", "token_offsets", "prefix_offsets")
    found: dict[uuid.UUID, list[Generation]] = defaultdict(list)
    for row in generations.defer(*packed).order_by("created_at"):
        found[row.message_id].append(row)
    return dict(found)


def view_of(
    message: Message, beside: list[uuid.UUID], generations: Sequence[Generation]
) -> MessageView:
    base = (message.id, message.parent_id, message.role, message.content, message.created_at)
    rating, comment = rating_of(message)
    if not generations:
        return MessageView(*base, beside, rating=rating, comment=comment)
    generation = generations[-1]
    return MessageView(
        *base,
        beside,
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
        rating=rating,
        comment=comment,
    )


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
