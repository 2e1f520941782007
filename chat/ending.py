"""How a turn ends: what is kept of it, and the row that says so, whatever the database does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import structlog
from django.db import DatabaseError

from chat.database import write_database
from chat.errors import StorageFailed, TurnLost, wire
from chat.event_log import EventLog
from chat.live import LiveTurn
from chat.outcome import Outcome, end_payload
from chat.packing import of_shown_text
from chat.services import after_crash, turn_fail_row, turn_finish
from inference.types import GenerateRequest

LOCKED_RETRY_S = 0.5
_REASONS = {"DONE": "", "STOPPED": "cancelled", "FAILED": ""}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """status: DONE, STOPPED or FAILED; error: why it failed. reason: the finish reason, where it is
    not the engine's."""

    status: str
    error: BaseException | None = None
    reason: str = ""


async def end_turn(
    log: EventLog, turn: LiveTurn, request: GenerateRequest, process: str, ending: Ending
) -> tuple[dict[str, Any], int]:
    """Store everything and end the row. Returns the payload and number of message.end.

    Never raises: readers are told how the turn ended even where the row could not be.
    """
    turn.failure = wire(ending.error) if ending.error else None
    outcome = outcome_of(turn, request, ending)
    seq = turn.seq + 1
    try:
        await log.flush()
        await _until_unlocked(
            turn_finish, turn=turn.started, process=process, seq=seq, outcome=outcome
        )
    except TurnLost as error:
        outcome = _failed(turn, outcome, error)
    except Exception as error:
        reason = error if isinstance(error, StorageFailed) else StorageFailed(str(error))
        outcome = _failed(turn, outcome, reason)
        seq = after_crash(turn.seq)
        await _fail_row(turn, process, outcome)
    finally:
        log.close(turn.started)
    _log.info(
        "turn_ended",
        status=outcome.status,
        request_id=request.request_id,
        session=str(turn.started.session_id),
        output_tokens=outcome.output_tokens,
    )
    return end_payload(turn.started.session_id, turn.started.message_id, outcome), seq


async def _until_unlocked(function: Any, **kwargs: Any) -> None:
    """A lock is somebody else's transaction: it ends, so wait for it."""
    while True:
        try:
            return await write_database(function, **kwargs)
        except DatabaseError as error:
            if "locked" not in str(error):
                raise
            await asyncio.sleep(LOCKED_RETRY_S)


async def _fail_row(turn: LiveTurn, process: str, outcome: Outcome) -> None:
    try:
        await _until_unlocked(turn_fail_row, turn=turn.started, process=process, outcome=outcome)
    except (DatabaseError, TurnLost) as error:
        # The row stays RUNNING; `recovery.recover` ends it once the database takes it.
        _log.error("turn_row_not_ended", reason=str(error), session=str(turn.started.session_id))


def _failed(turn: LiveTurn, outcome: Outcome, error: StorageFailed | TurnLost) -> Outcome:
    turn.failure = wire(error)
    return replace(outcome, status="FAILED", error=turn.failure.as_dict())


def outcome_of(turn: LiveTurn, request: GenerateRequest, ending: Ending) -> Outcome:
    """How a turn that took this stream ended, as far as the stream says."""
    finished, status = turn.finished, ending.status
    if status == "DONE" and not ending.reason:
        status = "STOPPED" if finished is None or finished.reason == "cancelled" else status
    ids, offsets = turn.token_ids, turn.token_offsets
    if status != "DONE" or ending.reason:
        ids, offsets = of_shown_text(ids, offsets, len(turn.own_text))
    return Outcome(
        status=status,
        content=turn.text,
        output_ids=ids,
        token_offsets=offsets,
        finish_reason=ending.reason or (finished.reason if finished else _REASONS[status]),
        prompt_tokens=len(request.prompt_ids),
        output_tokens=len(ids),
        cached_tokens=finished.cached_tokens if finished else 0,
        seed=finished.seed if finished else request.sampling.seed,
        deterministic=turn.began.deterministic if turn.began else False,
        timings=_timings(turn, len(ids)),
        spent=turn.spent,
        error=turn.failure.as_dict() if turn.failure else None,
    )


def _timings(turn: LiveTurn, tokens: int) -> dict[str, float]:
    """Seconds: the engine's own where it finished, else what the site saw of them. And how many
    tokens were guessed, where some were."""
    first = turn.first_text_at
    first_token_s = max(0.0, first - turn.began_at) if first else 0.0
    if turn.finished is not None:
        timings = turn.finished.timings
        queue_s, prefill_s, decode_s = timings.queue_s, timings.prefill_s, timings.decode_s
    else:
        queue_s, prefill_s = 0.0, first_token_s
        decode_s = time.monotonic() - first if first else 0.0
    speed = (tokens - 1) / decode_s if decode_s > 0 and tokens > 1 else 0.0
    named = {
        "queue_s": queue_s,
        "prefill_s": prefill_s,
        "decode_s": decode_s,
        "first_token_s": first_token_s,
        "tokens_per_s": speed,
    }
    if turn.finished is not None and turn.finished.drafted_tokens:
        named["drafted_tokens"] = turn.finished.drafted_tokens
        named["accepted_tokens"] = turn.finished.accepted_tokens
    return {name: round(value, 6) for name, value in named.items()}
