"""What an engine says of a turn, on its way into the turn, to its readers and into the log."""

from __future__ import annotations

from contextlib import aclosing

from chat.beginning import Begun
from chat.context.summarising import summarised
from chat.event_log import EventLog
from chat.filtering.stream import allowed
from chat.head_start import HeadStart, events_of
from chat.live import LiveTurn
from inference.types import Began, Delta, Finished


async def answered(
    turn: LiveTurn, begun: Begun, early: HeadStart | None, log: EventLog, process: str
) -> None:
    """From the first event to the last. Cancelling it tells the engine to stop. Raises EngineError,
    AnswerRefused, and what `EventLog.check` raises."""
    request = begun.request
    assert request is not None
    if begun.summary is not None:
        request = turn.request = await summarised(turn, request, begun.summary, process)

    def take(delta: Delta) -> None:
        log.check(turn.started)
        piece = turn.grow(delta)
        if piece is not None:
            log.append(turn, piece)

    async with aclosing(events_of(request, early, take)) as events:
        async for event in allowed(events, before=turn.text):
            if isinstance(event, Delta):
                take(event)
            elif isinstance(event, Began):
                turn.began = event
                log.begin(turn, event)
            elif isinstance(event, Finished):
                turn.finished = event
            else:
                turn.wait(event)
