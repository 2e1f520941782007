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
from chat.rendering import StreamRenderer
from chat.services import StartedTurn
from inference.types import Delta, Finished, Loading, Queued, Waiting

FRAME_INTERVAL_S = 0.025

Frame = dict[str, Any]


def frame(kind: str, *, seq: int, **fields: Any) -> Frame:
    return {"v": 1, "type": kind, "seq": seq, **fields}


class LiveTurn:
    """Event numbers: `started.seq` is turn.started's, each delta takes the next one."""

    def __init__(self, started: StartedTurn) -> None:
        self.started = started
        self.text = started.content
        self.seq = started.seq
        self.token_ids: list[int] = []
        self.token_offsets: list[int] = []
        self.finished: Finished | None = None
        self.failure: WireError | None = None
        self.began_at = time.monotonic()
        self.first_text_at: float | None = None
        self._logged_tokens = 0
        self._delta_offsets: list[int] = []
        self._waiting: Waiting | None = None
        self._end: Frame | None = None
        self._changed = asyncio.Event()
        self._readers = 0
        self._blocks = _Blocks(started.content, started.seq)

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
        self._notify()

    async def frames(self, after: int) -> AsyncGenerator[Frame, None]:
        """Everything that follows event `after` (turn.started or later), ending with message.end.

        The first delta comes at once, later ones at most every FRAME_INTERVAL_S. A reader's first
        frame carries all blocks, so it needs no memory of how earlier ones were rendered.
        """
        self._readers += 1
        try:
            async for event in self._frames(after):
                yield event
        finally:
            self._readers -= 1
            self._notify()

    async def _frames(self, after: int) -> AsyncGenerator[Frame, None]:
        cursor, seen_blocks, told = after, None, None
        next_at = 0.0
        while True:
            changed = self._changed
            if self.seq > cursor:
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                seq = self.seq
                delta = self._delta(cursor, seen_blocks)
                cursor = seen_blocks = seq
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
        while self._end is None:
            await self._changed.wait()
        return self._end

    async def wait_readers(self) -> None:
        """Until every reader that follows this turn has been given its end."""
        while self._readers:
            await self._changed.wait()

    def has(self, seq: int) -> bool:
        """Whether `seq` is the number of an event of this turn."""
        last = self._end["seq"] if self._end else self.seq
        return self.started.seq <= seq <= self.seq or seq == last

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _delta(self, after: int, seen_blocks: int | None) -> Frame:
        offset = self._delta_offsets[after - self.started.seq]
        return frame(
            "message.delta",
            seq=self.seq,
            session_id=str(self.started.session_id),
            message_id=str(self.started.message_id),
            offset=offset,
            text=self.text[offset:],
            blocks=self._blocks.changed(self.text, self.seq, seen_blocks),
        )

    def _waiting_frame(self, event: Waiting) -> Frame:
        ids: dict[str, Any] = {
            "seq": self.seq,
            "session_id": str(self.started.session_id),
            "message_id": str(self.started.message_id),
        }
        if isinstance(event, Queued):
            return frame("queue.position", position=event.position, **ids)
        kind = "model.loading" if isinstance(event, Loading) else "prompt.progress"
        return frame(kind, done=event.done, total=event.total, **ids)


class _Blocks:
    """Rendered blocks with the number at which each last changed. Rendered only when someone
    reads, and once for all readers."""

    def __init__(self, content: str, seq: int) -> None:
        self._renderer = StreamRenderer()
        self._html: list[str] = []
        self._seqs: list[int] = []
        self._length = len(content)
        self._finished = False
        self._replace(self._renderer.push(content), seq)

    def _replace(self, change: tuple[int, list[str]], seq: int) -> None:
        start, html = change
        self._html[start:] = html
        self._seqs[start:] = [seq] * len(html)

    def changed(self, text: str, seq: int, since: int | None) -> dict[str, Any]:
        """The blocks that changed after number `since` (None: all), `text` being all the text."""
        if len(text) > self._length:
            self._replace(self._renderer.push(text[self._length :]), seq)
            self._length = len(text)
        return self._from(since)

    def finished(self, text: str, seq: int, since: int | None) -> dict[str, Any]:
        """As `changed`, with the last block closed: from here on it is `render_blocks` of all."""
        self.changed(text, seq, since)
        if not self._finished:
            self._finished = True
            self._replace(self._renderer.finish(), seq + 1)
        return self._from(since)

    def _from(self, since: int | None) -> dict[str, Any]:
        fresh = (i for i, seq in enumerate(self._seqs) if since is None or seq > since)
        start = next(fresh, len(self._html))
        return {"from": start, "html": self._html[start:]}
