"""A turn of a temporary session: prompt, stream and end as of any other, and nothing is written.

The engine is asked without naming a session, so that nothing of it is saved to disk there either.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import aclosing
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from chat import engine, sampling
from chat.ending import outcome_of
from chat.errors import TurnInProgress, wire
from chat.live import LiveTurn
from chat.middleware import request_id
from chat.outlet import frame
from chat.pulse import Pulse
from chat.rendering import render_blocks
from chat.replay import started_frame
from chat.selectors import PreviousTurn
from chat.services import Outcome, StartedTurn, end_payload
from chat.submission import Submission, check_text, default_sampling, prompt_ids
from chat.temporary.sessions import TemporarySession, temporary_sessions
from inference.types import Began, Delta, Finished, GenerateRequest


async def submit(*, owner_id: uuid.UUID, submission: Submission) -> tuple[TemporarySession, int]:
    """Begin a turn, in a new session where none is named. Returns the session and the number of
    the turn's first event. Raises ChatError, EngineError; nothing is kept then."""
    known, client_id = temporary_sessions(), submission.client_id or ""
    check_text(submission.text)
    if again := known.sent_before(owner_id=owner_id, client_id=client_id):
        return again, again.client_ids[client_id]
    if submission.session_id is None:
        session = TemporarySession(owner_id)
    else:
        session = known.get(owner_id=owner_id, session_id=submission.session_id)
    request, fingerprint = await _request(session, submission)
    if session.live is not None:
        raise TurnInProgress(session.id)
    if not known.knows(session.id):
        known.add(session)
    turn = _begin(session, submission, request)
    session.client_ids[client_id] = turn.started.seq
    session.stream = asyncio.create_task(_stream(turn, request))
    session.ending = asyncio.create_task(_end(session, turn, request, fingerprint))
    session.tell()
    return session, turn.started.seq


async def _request(
    session: TemporarySession, submission: Submission
) -> tuple[GenerateRequest, dict[str, str]]:
    model, codec = submission.model, await engine.client().codec(submission.model)
    said = {"role": "user", "content": submission.text}
    messages = [*session.messages, said]
    ids = await asyncio.to_thread(prompt_ids, codec, model, session.before, messages)
    params = sampling.seeded(sampling.merged(default_sampling(model), submission.sampling))
    request = GenerateRequest(
        request_id=request_id(),
        model=model,
        prompt_ids=tuple(ids),
        sampling=params,
        answer_start=None,
        tenant=str(session.owner_id),
        deadline_s=settings.TINYLLM_DEADLINE_S or None,
        session=None,
    )
    return request, engine.fingerprint(codec)


def _begin(session: TemporarySession, submission: Submission, request: GenerateRequest) -> LiveTurn:
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
    started = StartedTurn(session.id, answer, uuid.uuid4(), session.seq, "", payload)
    session.live = LiveTurn(started, _pulse(), request.request_id)
    return session.live


async def _end(
    session: TemporarySession,
    turn: LiveTurn,
    request: GenerateRequest,
    fingerprint: dict[str, str],
) -> None:
    status = "DONE"
    assert session.stream is not None
    try:
        await session.stream
    except asyncio.CancelledError:
        status = "STOPPED"
    except Exception as error:
        status, turn.failure = "FAILED", wire(error)
    outcome = outcome_of(turn, request, status)
    ids = [*request.prompt_ids], [*outcome.output_ids]
    session.before = PreviousTurn(request.model, fingerprint, *ids)
    session.messages.append({"role": "assistant", "content": outcome.content})
    _keep(session, turn, outcome)


async def _stream(turn: LiveTurn, request: GenerateRequest) -> None:
    async with aclosing(engine.client().stream(request)) as events:
        async for event in events:
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
