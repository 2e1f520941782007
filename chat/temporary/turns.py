"""A turn of a temporary session: prompt, stream and end as of any other, and nothing is written.

The engine is asked without naming a session, so that nothing of it is saved to disk there either.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import aclosing
from dataclasses import replace
from functools import cache
from typing import Any

from django.utils.translation import gettext as _

from chat import engine, filtering, live_settings, sampling
from chat.context.reading import Asked, read
from chat.ending import Ending, outcome_of
from chat.errors import InvalidRequest, TurnInProgress, wire
from chat.filtering.stream import AnswerRefused, allowed
from chat.live import LiveTurn
from chat.middleware import request_id
from chat.outcome import Outcome, end_payload
from chat.outlet import frame
from chat.places import places
from chat.prompt_selectors import PreviousTurn, PromptContext
from chat.pulse import Pulse
from chat.rendering import render_blocks
from chat.replay import started_frame
from chat.session_settings.values import WhenFull, checked, merged, system_prompt, when_full
from chat.submission import Submission, check_text, default_sampling
from chat.temporary.sessions import TemporarySession, temporary_sessions
from chat.tracing.recorder import finish
from chat.turn_records import StartedTurn
from chat.unwritten import paid, reserved, take_place
from chat.usage import Charge
from inference.types import Began, Delta, Finished, GenerateRequest


async def submit(*, owner_id: uuid.UUID, submission: Submission) -> tuple[TemporarySession, int]:
    """Begin a turn, in a new session where none is named. Returns the session and the number of
    the turn's first event. Raises ChatError, EngineError; nothing is kept then."""
    known, client_id = temporary_sessions(), submission.client_id or ""
    check_text(submission.text)
    if submission.files:
        raise InvalidRequest(
            _("A temporary session reads no files: they would be kept."), param="files"
        )
    submission = replace(submission, text=filtering.incoming(submission.text))
    if again := known.sent_before(owner_id=owner_id, client_id=client_id):
        return again, again.client_ids[client_id]
    if submission.session_id is None:
        session = TemporarySession(owner_id, settings=checked(submission.settings or {}))
    else:
        session = known.get(owner_id=owner_id, session_id=submission.session_id)
    _refuse_second_turn(session)
    await take_place(owner_id)
    try:
        request, before, charge = await _request(session, submission)
        try:
            _refuse_second_turn(session)  # two at once
        except TurnInProgress:
            await paid(charge, 0, 0)
            raise
    except BaseException:
        places.give(owner_id)
        raise
    if not known.knows(session.id):
        known.add(session)
    turn = _begin(session, submission, request, charge)
    session.client_ids[client_id] = turn.started.seq
    session.stream = asyncio.create_task(_stream(turn, request))
    session.ending = asyncio.create_task(_end(session, turn, request, before))
    session.tell()
    return session, turn.started.seq


def _refuse_second_turn(session: TemporarySession) -> None:
    if session.live is not None:
        raise TurnInProgress(session.id)


async def _request(
    session: TemporarySession, submission: Submission
) -> tuple[GenerateRequest, PreviousTurn, Charge]:
    """And what the next turn is to know of this one, but for its answer, and what it costs."""
    model, codec = submission.model, await engine.client().codec(submission.model)
    its, context = session.settings, PromptContext(None, session.messages, session.before)
    params = sampling.seeded(merged(default_sampling(model), its, submission.sampling))
    chosen = when_full(its, codec.kind)
    full: WhenFull = "refuse" if chosen == "refuse" else "slide"  # a summary would be kept
    how = Asked(codec, model, system_prompt(its), full, params.max_tokens)
    said = {"role": "user", "content": submission.text}
    reading = await asyncio.to_thread(read, how, context, [*session.messages, said])
    length = len(reading.ids)
    room = max(1, codec.context_length - length)
    charge = await reserved(
        owner_id=session.owner_id,
        prompt_tokens=length,
        wanted=min(room, params.max_tokens or room),
    )
    request = GenerateRequest(
        request_id=request_id(),
        model=model,
        prompt_ids=tuple(reading.ids),
        sampling=replace(params, **charge.sampling),
        answer_start=None,
        tenant=str(session.owner_id),
        deadline_s=live_settings.value("TINYLLM_DEADLINE_S") or None,
        session=None,
    )
    before = PreviousTurn(model, engine.fingerprint(codec), reading.ids, [], reading.record)
    return request, before, charge


def _begin(
    session: TemporarySession, submission: Submission, request: GenerateRequest, charge: Charge
) -> LiveTurn:
    question, answer = uuid.uuid4(), uuid.uuid4()
    parent = str(session.last_message) if session.last_message else None
    payload = {
        "session_id": str(session.id),
        "client_id": submission.client_id,
        "title": _("Temporary session"),
        "user_message": {"id": str(question), "parent_id": parent, "text": submission.text},
        "message": {"id": str(answer), "parent_id": str(question), "model": request.model},
        "continued": False,
    }
    session.seq += 1
    session.last_message = answer
    session.spoken_at = time.monotonic()
    session.messages.append({"role": "user", "content": submission.text})
    started = StartedTurn(session.id, answer, uuid.uuid4(), session.seq, "", payload, charge)
    session.live = LiveTurn(started, _pulse(), request.request_id)
    return session.live


async def _end(
    session: TemporarySession, turn: LiveTurn, request: GenerateRequest, before: PreviousTurn
) -> None:
    ending = Ending("DONE")
    assert session.stream is not None
    try:
        await session.stream
    except asyncio.CancelledError:
        ending = Ending("STOPPED")
    except AnswerRefused:
        ending = Ending("DONE", reason="content_filter")
    except Exception as error:
        ending, turn.failure = Ending("FAILED", error), wire(error)
    outcome = outcome_of(turn, request, ending)
    assert turn.started.charge is not None
    await paid(turn.started.charge, *outcome.charged)  # the one thing that is written
    places.give(session.owner_id)
    finish(outcome.status)
    session.before = replace(before, output_ids=[*outcome.output_ids])
    session.messages.append({"role": "assistant", "content": outcome.content})
    _keep(session, turn, outcome)


async def _stream(turn: LiveTurn, request: GenerateRequest) -> None:
    async with aclosing(engine.stream(request)) as events:
        async for event in allowed(events, before=turn.text):
            if isinstance(event, Delta):
                turn.grow(event)
            elif isinstance(event, Began):
                turn.began = event
            elif isinstance(event, Finished):
                turn.finished = event
            else:
                turn.wait(event)


def _keep(session: TemporarySession, turn: LiveTurn, outcome: Outcome) -> None:
    """The turn is over: readers of now are told, and frames are there for those to come."""
    started = turn.started
    ids = {"session_id": str(session.id), "message_id": str(started.message_id)}
    payload = end_payload(session.id, started.message_id, outcome) | {"can_continue": False}
    blocks = {"from": 0, "html": render_blocks(turn.text)}
    its: dict[str, Any] = {**ids, "offset": 0, "text": turn.text, "blocks": blocks}
    session.seq = turn.seq + 1
    session.past += [
        started_frame(started.seq, started.payload),
        frame("message.delta", seq=turn.seq, **its),
        frame("message.end", **{**payload, "seq": session.seq, "blocks": blocks}),
    ]
    session.live = session.stream = session.ending = None
    turn.end(payload, session.seq)
    session.tell()


@cache
def _pulse() -> Pulse:
    return Pulse()
