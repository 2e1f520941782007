"""A summary is made before the turn that needs it: a request of its own, which ends with the turn.

Where the model says nothing of use, or does not say it in time, the turn goes on without: the
oldest messages are left out, and the page says so.
"""

from __future__ import annotations

import uuid
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from chat import engine, sampling
from chat.context.summary_rows import summary_keep, summary_missed
from chat.context.summary_task import SummaryTask
from chat.database import write_database
from chat.filtering.stream import allowed
from chat.live import LiveTurn, Summarising
from chat.models import Summary
from chat.prompt_selectors import KnownSummary
from inference.types import Began, Delta, Finished, GenerateRequest

DEADLINE_S = 300.0
"""For the summary alone; the answer has its own."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    text: str
    finished: Finished


async def summarised(
    turn: LiveTurn, request: GenerateRequest, task: SummaryTask, process: str
) -> GenerateRequest:
    """The turn's request with a prompt that has the summary; as it is where none could be made.
    Raises TurnLost."""
    asked = replace(
        request,
        request_id=f"{request.request_id}-summary",
        prompt_ids=task.prompt_ids,
        sampling=task.sampling,
        deadline_s=min(DEADLINE_S, request.deadline_s or DEADLINE_S),
    )
    try:
        with turn.asking(asked.request_id):
            made = await _made(turn, asked)
        if not _is_useful(made, task):
            raise ValueError("nothing of use was said")
        known = KnownSummary(uuid.uuid4(), task.messages, made.text)
        ids = task.prompt_with(known)
    except Exception as error:
        _log.warning("summary_failed", request_id=asked.request_id, reason=repr(error))
        await write_database(summary_missed, turn=turn.started, process=process)
        return request
    summary = _row(turn, asked, task, known, made.finished)
    await write_database(
        summary_keep, turn=turn.started, process=process, summary=summary, prompt_ids=ids
    )
    return replace(request, prompt_ids=tuple(ids))


async def _made(turn: LiveTurn, request: GenerateRequest) -> _Made:
    """Raises ValueError where it was broken off, EngineError, AnswerRefused."""
    most = request.sampling.max_tokens or 0
    text, tokens, finished = "", 0, None
    turn.wait(Summarising(0, most))
    async with aclosing(engine.stream(request)) as events:
        async for event in allowed(events, before=""):
            if isinstance(event, Delta):
                text += event.text
                tokens += len(event.token_ids)
                turn.wait(Summarising(min(tokens, most), most))
                turn.spent = (len(request.prompt_ids), tokens)
            elif isinstance(event, Finished):
                finished = event
            elif not isinstance(event, Began):
                turn.wait(event)
    if finished is None:
        raise ValueError("it was broken off")
    return _Made(text.replace("\x00", "").strip(), finished)


def _is_useful(made: _Made, task: SummaryTask) -> bool:
    """It has words, fewer than what it stands for, and was not broken off."""
    is_whole = made.finished.reason in ("stop", "length")
    has_words = sum(character.isalpha() for character in made.text) > 1
    return is_whole and has_words and made.finished.output_tokens < task.replaced


def _row(
    turn: LiveTurn,
    request: GenerateRequest,
    task: SummaryTask,
    known: KnownSummary,
    finished: Finished,
) -> Summary:
    return Summary(
        id=known.id,
        session_id=turn.started.session_id,
        message_id=task.message_id,
        text=known.text,
        messages=known.messages,
        model=request.model,
        fingerprint=engine.fingerprint(task.asked.codec),
        sampling=sampling.as_json(request.sampling),
        prompt_tokens=len(request.prompt_ids),
        output_tokens=finished.output_tokens,
        cached_tokens=finished.cached_tokens,
    )
