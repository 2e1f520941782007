"""Events of one request on their way to its reader, on the event loop. No torch here."""

from __future__ import annotations

import asyncio
from collections import deque

from inference.errors import EngineError
from inference.types import Delta, EngineEvent, PromptProgress, Queued


class Mailbox:
    """Holds what its reader has not taken yet, and stays small: deltas are joined, and of a
    place in the queue or a progress only the newest counts."""

    def __init__(self) -> None:
        self._events: deque[EngineEvent | EngineError] = deque()
        self._arrived = asyncio.Event()

    def put(self, event: EngineEvent | EngineError) -> None:
        last = self._events[-1] if self._events else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            self._events[-1] = last.joined(event)
        elif isinstance(event, Queued | PromptProgress) and type(last) is type(event):
            self._events[-1] = event
        else:
            self._events.append(event)
        self._arrived.set()

    async def get(self) -> EngineEvent:
        """The next event; an error is raised in its place."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        if isinstance(event, EngineError):
            raise event
        return event
