"""Writes. Each function is one transaction; its arguments are keyword-only.

Events are written with what they record: a reader of the log never sees one without the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from chat.errors import MessageNotFound, SessionNotFound, TurnInProgress, TurnLost
from chat.files.services import names_of, passages_told, write_shown
from chat.history import keep_history
from chat.models import Event, Generation, Message, Session, sessions_of
from chat.outcome import Outcome, end_payload
from chat.packing import pack
from chat.rows import insert
from chat.search_index import index_turn
from chat.session_settings.versions import version_of
from chat.turn_records import StartedTurn, TurnPlan
from chat.usage import Charge, reserve, settle, settle_row

TITLE_LENGTH = 60
CRASH_STEP = 1_000_000
"""After a crash numbers go on at the next multiple of this: a number that a client saw and the
log never got is then recognised, since no event carries it."""


@transaction.atomic
def turn_start(
    *,
    owner_id: uuid.UUID,
    session_id: uuid.UUID | None,
    parent_id: uuid.UUID | None,
    client_id: str | None,
    text: str,
    plan: TurnPlan,
    settings: dict[str, Any] | None = None,
    history: Sequence[dict[str, str]] = (),
    new_id: uuid.UUID | None = None,
) -> StartedTurn:
    """The user's message, an empty answer, its RUNNING generation and the event that tells of them.

    session_id None makes a session, `new_id`, with `settings`. history: messages to be kept in
    front of the user's. Raises SessionNotFound, MessageNotFound, TurnInProgress.
    """
    if session_id is None:
        session = Session(id=new_id or uuid.uuid4(), owner_id=owner_id, settings=settings)
    else:
        session = _locked_session(owner_id=owner_id, session_id=session_id)
        _refuse_second_turn(session)
    if parent_id and not Message.objects.filter(id=parent_id, session=session).exists():
        raise MessageNotFound(parent_id)
    if not session.is_named:
        session.title = session.title or title_of(text if text.strip() else names_of(plan.shown))
    session.model = plan.model
    _advance(session)
    user = Message(
        session=session,
        parent_id=keep_history(session=session, parent_id=parent_id, said=history),
        role=Message.Role.USER,
        content=text,
        client_id=client_id,
        reads_files=plan.shown is not None,
    )
    answer = Message(session=session, parent=user, role=Message.Role.ASSISTANT)
    insert(user, answer)
    told = {**_named(user), "text": text, **write_shown(message=user, shown=plan.shown)}
    return _begin(session, answer, plan, client_id=client_id, user_message=told)


@transaction.atomic
def turn_regenerate(
    *,
    owner_id: uuid.UUID,
    session_id: uuid.UUID,
    parent_id: uuid.UUID,
    plan: TurnPlan,
    client_id: str | None = None,
) -> StartedTurn:
    """One more answer to the message `parent_id`. The session keeps its model, whichever this one
    is of. Raises as `turn_start` does."""
    session = _locked_session(owner_id=owner_id, session_id=session_id)
    _refuse_second_turn(session)
    if not Message.objects.filter(id=parent_id, session=session).exists():
        raise MessageNotFound(parent_id)
    _advance(session)
    role = Message.Role.ASSISTANT
    answer = Message(session=session, parent_id=parent_id, role=role, content=plan.content)
    insert(answer)
    return _begin(session, answer, plan, client_id=client_id)


@transaction.atomic
def turn_continue(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID, plan: TurnPlan
) -> StartedTurn:
    """Another generation on an answer that ended early. Raises as `turn_start` does."""
    session = _locked_session(owner_id=owner_id, session_id=session_id)
    answer = Message.objects.filter(id=message_id, session=session).first()
    if answer is None:
        raise MessageNotFound(message_id)
    _refuse_second_turn(session)
    _advance(session)
    return _begin(session, answer, plan, continued=True)


def _locked_session(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> Session:
    session = sessions_of(owner_id).select_for_update().filter(id=session_id).first()
    if session is None:
        raise SessionNotFound(session_id)
    return session


def _refuse_second_turn(session: Session) -> None:
    if session.generations.filter(status=Generation.Status.RUNNING).exists():
        raise TurnInProgress(session.id)


def _advance(session: Session) -> None:
    """To the number of the turn's first event. A session that is new is written here."""
    session.last_seq += 1
    session.updated_at = timezone.now()
    session.archived = False  # who speaks in it wants it back
    if session._state.adding:
        insert(session)
    else:
        session.save(update_fields=["last_seq", "model", "title", "updated_at", "archived"])


def _begin(
    session: Session,
    answer: Message,
    plan: TurnPlan,
    *,
    client_id: str | None = None,
    user_message: dict[str, Any] | None = None,
    continued: bool = False,
) -> StartedTurn:
    length = plan.first + len(plan.prompt_ids)
    charge = reserve(
        owner_id=session.owner_id, prompt_tokens=length, wanted=plan.wanted, limits=plan.limits
    )
    generation = _generation(session, answer, plan, charge)
    try:
        insert(generation)
    except IntegrityError:
        raise TurnInProgress(session.id) from None
    payload = {
        "session_id": str(session.id),
        "client_id": client_id,
        "title": session.title,
        "user_message": user_message,
        "message": {
            **_named(answer),
            "model": plan.model,
            "text": plan.content,
            **passages_told(plan.shown),
        },
        "continued": continued,
    }
    seq, its = session.last_seq, {"session": session, "generation": generation}
    insert(Event(seq=seq, kind="turn.started", payload=payload, **its))
    return StartedTurn(session.id, answer.id, generation.id, seq, answer.content, payload, charge)


def _generation(session: Session, answer: Message, plan: TurnPlan, charge: Charge) -> Generation:
    return Generation(
        session=session,
        message=answer,
        model=plan.model,
        fingerprint=plan.fingerprint,
        sampling=plan.sampling | charge.sampling,
        reserved_tokens=charge.reserved,
        created_at=charge.at,
        context=plan.context,
        preset_version_id=version_of(owner_id=session.owner_id, settings=session.settings),
        seed=plan.sampling.get("seed"),
        prompt_ids=pack(plan.prompt_ids),
        prefix_offsets=pack(plan.prefix_offsets),
        prompt_tokens=len(plan.prompt_ids),
        owner=plan.process,
        request_id=plan.request_id,
        request=dict(plan.request) if plan.request is not None else None,
    )


def _named(message: Message) -> dict[str, Any]:
    parent = str(message.parent_id) if message.parent_id else None
    return {"id": str(message.id), "parent_id": parent}


@transaction.atomic
def turn_finish(*, turn: StartedTurn, process: str, seq: int, outcome: Outcome) -> dict[str, Any]:
    """End the row, keep the text, write message.end as event `seq`. Returns that event's payload.

    Raises TurnLost where not exactly one row was RUNNING in the hands of `process`.
    """
    payload = end_payload(turn.session_id, turn.message_id, outcome)
    changed = Generation.objects.filter(
        id=turn.generation_id, status=Generation.Status.RUNNING, owner=process
    ).update(
        status=outcome.status,
        output_ids=pack(outcome.output_ids),
        token_offsets=pack(outcome.token_offsets),
        prompt_tokens=outcome.prompt_tokens,
        output_tokens=outcome.output_tokens,
        cached_tokens=outcome.cached_tokens,
        seed=outcome.seed,
        timings=outcome.timings,
        finish_reason=outcome.finish_reason,
        error=outcome.error,
        finished_at=timezone.now(),
    )
    if changed != 1:
        raise TurnLost
    Message.objects.filter(id=turn.message_id).update(content=outcome.content)
    settle(turn.charge, *outcome.charged)
    index_turn(message_id=turn.message_id)
    Session.objects.filter(id=turn.session_id).update(last_seq=seq, updated_at=timezone.now())
    Event.objects.create(
        session_id=turn.session_id,
        generation_id=turn.generation_id,
        seq=seq,
        kind="message.end",
        payload=payload,
    )
    return payload


@transaction.atomic
def turn_fail_row(*, turn: StartedTurn, process: str, outcome: Outcome) -> None:
    """The least that ends a turn, for a database too full for more: rows change in place.

    The numbers that readers saw and the log did not get are jumped over. Raises TurnLost.
    """
    changed = Generation.objects.filter(
        id=turn.generation_id, status=Generation.Status.RUNNING, owner=process
    ).update(status=Generation.Status.FAILED, error=outcome.error, finished_at=timezone.now())
    if changed != 1:
        raise TurnLost
    settle_row(turn.charge, *outcome.charged)
    last = Session.objects.values_list("last_seq", flat=True).get(id=turn.session_id)
    Session.objects.filter(id=turn.session_id).update(last_seq=after_crash(last))


def session_delete(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """Raises SessionNotFound."""
    deleted, _rows = Session.objects.filter(id=session_id, owner_id=owner_id).delete()
    if not deleted:
        raise SessionNotFound(session_id)


def title_of(text: str) -> str:
    """The first line that says something, short enough for a list."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def after_crash(seq: int) -> int:
    """The next multiple of CRASH_STEP above `seq`."""
    return (seq // CRASH_STEP + 1) * CRASH_STEP
