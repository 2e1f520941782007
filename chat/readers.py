"""Who reads a turn: how many, and whether anybody still does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Readers:
    def __init__(self) -> None:
        self._count = 0
        self._some, self._none = asyncio.Event(), asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count as a reader."""
        self._count += 1
        self._tell()
        try:
            yield
        finally:
            self._count -= 1
            self._tell()

    async def gone(self) -> None:
        """Until nobody reads."""
        await self._none.wait()

    async def away(self, seconds: float) -> None:
        """Until nobody has read for so long without a break."""
        while True:
            await self._none.wait()
            try:
                async with asyncio.timeout(seconds):
                    await self._some.wait()
            except TimeoutError:
                return

    def _tell(self) -> None:
        now, then = (self._some, self._none) if self._count else (self._none, self._some)
        now.set()
        then.clear()
