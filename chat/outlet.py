"""Where the frames of one reader go.

A frame is composed once for all readers who are at the same place, as the text that goes out. An
outlet that is full is passed over: its reader is a position, and the next frame carries all that
has come meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, NamedTuple, Protocol

Frame = dict[str, Any]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
encode = _ENCODER.encode


class Composed(NamedTuple):
    """A frame as it goes out. seq: the number in it."""

    kind: str
    seq: int
    text: str


def frame(kind: str, *, seq: int, **fields: Any) -> Frame:
    return {"v": 1, "type": kind, "seq": seq, **fields}


def composed(event: Frame) -> Composed:
    return Composed(event["type"], event["seq"], encode(event))


class Outlet(Protocol):
    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be given to it for now."""

    def take(self, event: Composed | None) -> None:
        """Never waits. None is a sign of life while nothing happens."""

    async def room(self) -> None:
        """Until it is not full."""


class Slot:
    """An outlet for whoever reads with `async for`: one frame waits in it at most."""

    def __init__(self) -> None:
        self._waiting: list[Composed | None] = []
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return bool(self._waiting)

    def take(self, event: Composed | None) -> None:
        if event is not None or not self._waiting:
            self._waiting.append(event)
            self._changed.set()

    async def room(self) -> None:
        while self._waiting:
            self._changed.clear()
            await self._changed.wait()

    async def filled_by(
        self, work: Coroutine[Any, Any, None]
    ) -> AsyncGenerator[Composed | None, None]:
        """What the work puts in, until it ends. Raises what the work raises."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._changed.set())
        try:
            while True:
                if self._waiting:
                    event = self._waiting.pop(0)
                    self._changed.set()
                    yield event
                elif task.done():
                    task.result()
                    return
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            task.cancel()
            await asyncio.wait([task])
