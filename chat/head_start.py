"""The engine reads a prompt while the rows of its turn are written; both take as long (ADR 33).

Nothing of the answer is shown before its rows are there. Where they cannot be written the engine is
told to stop, as if its reader had left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chat import engine, filtering, forgetting
from inference.errors import EngineError
from inference.types import Delta, EngineEvent, GenerateRequest, Take

HANDOVER_S = 0.0002
"""For so long the thread that is about to write the rows leaves the interpreter to the event loop,
which would else have it when they are written."""


class HeadStart:
    """Belongs to the event loop, but for `of`. It has begun once there is a `request`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_new = False
        self._take: Take | None = None
        self._events: AsyncGenerator[EngineEvent, None]
        self._first: asyncio.Task[EngineEvent]
        self.request: GenerateRequest | None = None

    def of(self, request: GenerateRequest, *, is_new: bool) -> None:
        """Begin. May be called from any thread. is_new: its session has no row yet."""
        self._loop.call_soon_threadsafe(self._begin, request, is_new)
        time.sleep(HANDOVER_S)

    def _begin(self, request: GenerateRequest, is_new: bool) -> None:
        try:
            self._events = engine.stream(request, _directly(self._pass))
        except EngineError:  # said again to the turn, once it has rows
            return
        self._first = asyncio.create_task(anext(self._events))
        self.request, self._is_new = request, is_new

    def _pass(self, delta: Delta) -> None:
        assert self._take is not None  # nothing is taken before it is awaited
        self._take(delta)

    async def stream(self, take: Take) -> AsyncGenerator[EngineEvent, None]:
        """What `engine.stream` gives for the request."""
        self._take = take
        async with aclosing(self._events) as events:
            yield await self._first
            async for event in events:
                yield event

    async def drop(self) -> None:
        """Its turn has no rows."""
        await self.close()
        if self.request is not None and self._is_new and self.request.session:
            forgetting.forget(self.request.session)

    async def close(self) -> None:
        """Tell the engine to stop. Nothing where it has ended, or has not begun."""
        if self.request is None:
            return
        self._first.cancel()
        try:
            await asyncio.gather(self._first, return_exceptions=True)
        finally:
            await self._events.aclose()


def events_of(
    request: GenerateRequest, early: HeadStart | None, take: Take
) -> AsyncGenerator[EngineEvent, None]:
    """Of the request that the engine works on already, if it has had a head start."""
    if early is not None and early.request is not None:
        return early.stream(take)
    return engine.stream(request, _directly(take))


def _directly(take: Take) -> Take | None:
    """Filters hold back what may become a match: they stand where the events are read."""
    return None if filtering.filters() else take
