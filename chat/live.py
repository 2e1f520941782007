"""A turn while it runs: its text and numbers in memory, and any number of readers following it.

A reader is a position, not a queue: what it has not seen yet is one slice of the text, so a slow
reader costs nothing, gets joined deltas, and never holds up the turn or another reader.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from chat.errors import WireError
from chat.live_blocks import LiveBlocks
from chat.readers import Readers
from chat.services import StartedTurn
from inference.types import Began, Delta, Finished, Loading, Queued, Waiting

FRAME_INTERVAL_S = 0.025

Frame = dict[str, Any]


def frame(kind: str, *, seq: int, **fields: Any) -> Frame:
    return {"v": 1, "type": kind, "seq": seq, **fields}


class LiveTurn:
    """Event numbers: `started.seq` is turn.started's, each delta takes the next one."""

    def __init__(self, started: StartedTurn, request_id: str = "") -> None:
        self.started, self.request_id = started, request_id
        self.text = started.content
        self.seq = started.seq
        self.token_ids: list[int] = []
        self.token_offsets: list[int] = []
        self.began: Began | None = None
        self.finished: Finished | None = None
        self.failure: WireError | None = None
        self.began_at = time.monotonic()
        self.first_text_at: float | None = None
        self._logged_tokens = 0
        self._delta_offsets: list[int] = []
        self._waiting: Waiting | None = None
        self._end: Frame | None = None
        self._changed, self._over = asyncio.Event(), asyncio.Event()
        self._blocks = LiveBlocks(started.content, started.seq)
        self._ids = {
            "session_id": str(started.session_id),
            "message_id": str(started.message_id),
        }
        self.readers = Readers()

    @property
    def own_text(self) -> str:
        """What this turn wrote, without the beginning of an answer that it continues."""
        return self.text[len(self.started.content) :]

    @property
    def ended(self) -> Frame | None:
        """The message.end frame, once the turn is over and its row is written."""
        return self._end

    def wait(self, event: Waiting) -> None:
        self._waiting = event
        self._notify()

    def grow(self, delta: Delta) -> dict[str, Any] | None:
        """Take more of the answer. Returns the payload of the new event `self.seq`, or None while
        the tokens so far make no text; those tokens go into the next event."""
        self.token_ids += delta.token_ids
        self.token_offsets += delta.offsets
        if not delta.text:
            return None
        if self.first_text_at is None:
            self.first_text_at = time.monotonic()
        offset = len(self.text)
        self._delta_offsets.append(offset)
        self.text += delta.text
        self.seq += 1
        first, self._logged_tokens = self._logged_tokens, len(self.token_ids)
        self._waiting = None
        self._notify()
        return {
            "message_id": str(self.started.message_id),
            "offset": offset,
            "text": delta.text,
            "ids": self.token_ids[first:],
            "offsets": self.token_offsets[first:],
        }

    def end(self, payload: dict[str, Any], seq: int) -> None:
        """Tell every reader that it is over. Nothing may be taken afterwards."""
        self._end = frame("message.end", **{**payload, "seq": seq})
        self._over.set()
        self._notify()

    async def frames(self, after: int) -> AsyncGenerator[Frame, None]:
        """Everything that follows event `after` (turn.started or later), ending with message.end.

        The first delta comes at once, later ones at most every FRAME_INTERVAL_S. A reader's first
        frame carries all blocks, so it needs no memory of how earlier ones were rendered. Later
        ones carry those that changed, where they were due (`chat/live_blocks.py`), else none: the
        next frame with blocks makes good for it, at the latest the end.
        """
        LiveBlocks.reading(1)
        try:
            with self.readers.one():
                async for event in self._frames(after):
                    yield event
        finally:
            LiveBlocks.reading(-1)

    async def _frames(self, after: int) -> AsyncGenerator[Frame, None]:
        cursor, seen_blocks, told = after, None, None
        next_at = 0.0
        while True:
            changed = self._changed
            if self.seq > cursor:
                if (wait := next_at - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                seq = self.seq
                delta = self._delta(cursor)
                if seen_blocks is None or self._blocks.are_due:
                    delta["blocks"] = self._blocks.changed(self.text, seq, seen_blocks)
                    seen_blocks = seq
                cursor = seq
                next_at = time.monotonic() + FRAME_INTERVAL_S
                yield delta
            elif self._end is not None:
                if self._end["seq"] > cursor:
                    blocks = self._blocks.finished(self.text, self.seq, seen_blocks)
                    yield {**self._end, "blocks": blocks}
                return
            elif self._waiting is not told and self._waiting is not None:
                told = self._waiting
                yield self._waiting_frame(told)
            else:
                await changed.wait()

    async def wait_end(self) -> Frame:
        await self._over.wait()
        assert self._end is not None
        return self._end

    def has(self, seq: int) -> bool:
        """Whether `seq` is the number of an event of this turn."""
        last = self._end["seq"] if self._end else self.seq
        return self.started.seq <= seq <= self.seq or seq == last

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _delta(self, after: int) -> Frame:
        offset = self._delta_offsets[after - self.started.seq]
        text = self.text[offset:]
        return frame("message.delta", seq=self.seq, **self._ids, offset=offset, text=text)

    def _waiting_frame(self, event: Waiting) -> Frame:
        if isinstance(event, Queued):
            return frame("queue.position", seq=self.seq, **self._ids, position=event.position)
        kind = "model.loading" if isinstance(event, Loading) else "prompt.progress"
        return frame(kind, seq=self.seq, **self._ids, done=event.done, total=event.total)
