"""Events of one request on their way to its reader, on the event loop. No torch here."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context

from inference.engine_commands import Report, Said
from inference.errors import EngineError
from inference.examination import Examined
from inference.types import Delta, EngineEvent, Take, Waiting


def join(waiting: deque[Said], new: Said) -> None:
    """Append to what waits for one reader, and keep it small: deltas are joined, and of a place
    in the queue, a progress or a report only the newest counts."""
    last = waiting[-1] if waiting else None
    if isinstance(new, Delta) and isinstance(last, Delta):
        waiting[-1] = last.joined(new)
    elif isinstance(new, Waiting | Report) and type(last) is type(new):
        waiting[-1] = new
    else:
        waiting.append(new)


class Mailbox:
    """Holds what its reader has not taken yet. It has one reader, which is woken once for all that
    has come meanwhile. take: is given deltas for which no reader has to be woken, since nothing
    waits before them; it runs in the context in which the mailbox was made."""

    def __init__(self, take: Take | None = None) -> None:
        self._take, self._context = take, copy_context()
        self._events: deque[Said] = deque()
        self._failure: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    def put(self, event: Said) -> None:
        is_awaited = self._reader is not None and not self._reader.done()
        if self._take is not None and is_awaited and isinstance(event, Delta):
            try:
                self._context.run(self._take, event)
                return
            except Exception as error:
                self._failure = error
        else:
            join(self._events, event)
        if self._reader is not None and is_awaited:
            self._reader.set_result(None)

    async def get(self) -> EngineEvent | Report | Examined:
        """The next event; an error is raised in its place."""
        while not self._events and self._failure is None:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._failure is not None:
            raise self._failure
        event = self._events.popleft()
        if isinstance(event, EngineError):
            raise event
        return event
