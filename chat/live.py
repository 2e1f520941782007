"""A turn while it runs: its text and numbers in memory, and any number of readers following it.

A reader is a position, not a queue: what it has not seen yet is one slice of the text, so a slow
reader costs nothing, gets joined deltas, and never holds up the turn or another reader.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from typing import Any

from chat.delta_rows import Piece
from chat.errors import WireError
from chat.live_blocks import LiveBlocks
from chat.outlet import Composed, Frame, Outlet, composed, encode, frame
from chat.pulse import Pulse
from chat.readers import Readers
from chat.tracing.recorder import mark
from chat.turn_records import StartedTurn
from inference.types import (
    Began,
    Delta,
    Finished,
    GenerateRequest,
    Loading,
    Queued,
    TokenLogprobs,
    Waiting,
)


@dataclass(frozen=True, slots=True)
class Summarising:
    """Earlier messages are being summarised. Tokens: of at most `total`."""

    done: int
    total: int


@dataclass(slots=True, eq=False)
class _Reader:
    """seq: of the last event it has. blocks: number up to which it knows the blocks, None: none of
    them. told: what it was last told while nothing was written. shown: the end of the branch that
    it was last told of."""

    outlet: Outlet
    seq: int
    done: asyncio.Future[None]
    blocks: int | None = None
    told: Waiting | Summarising | None = None
    shown: str | None = None


class LiveTurn:
    """Event numbers: `started.seq` is turn.started's, each delta takes the next one. shown: the end
    of the branch that is shown, where another was chosen since the turn began. request: what the
    engine is asked where that is not as planned, spent: tokens of prompt and output that went
    before it (`chat.context.summarising`)."""

    def __init__(self, started: StartedTurn, pulse: Pulse, request_id: str = "") -> None:
        self.started, self.request_id = started, request_id
        self.text = started.content
        self.seq = started.seq
        self.token_ids: list[int] = []
        self.token_offsets: list[int] = []
        self.logprobs: list[TokenLogprobs] = []
        self.began: Began | None = None
        self.finished: Finished | None = None
        self.shown: str | None = None
        self.failure: WireError | None = None
        self.request: GenerateRequest | None = None
        self.spent = (0, 0)
        self.began_at = time.monotonic()
        self.first_text_at: float | None = None
        self._logged_tokens = 0
        self._delta_offsets: list[int] = []
        self._waiting: Waiting | Summarising | None = None
        self._end: Frame | None = None
        self._over = asyncio.Event()
        self._pulse = pulse
        self._reading: list[_Reader] = []
        self._told: dict[tuple[int, int | None, bool], Composed] = {}
        self._blocks = LiveBlocks(started.content, started.seq)
        self._ids = {
            "session_id": str(started.session_id),
            "message_id": str(started.message_id),
        }
        self._head = encode(self._ids)[1:-1]
        self.readers = Readers()

    @property
    def own_text(self) -> str:
        """What this turn wrote, without the beginning of an answer that it continues."""
        return self.text[len(self.started.content) :]

    @property
    def ended(self) -> Frame | None:
        """The message.end frame, once the turn is over and its row is written."""
        return self._end

    def wait(self, event: Waiting | Summarising) -> None:
        self._waiting = event
        self._notify()

    @contextmanager
    def asking(self, request_id: str) -> Iterator[None]:
        """While the engine works for this turn under another name."""
        own, self.request_id = self.request_id, request_id
        try:
            yield
        finally:
            self.request_id = own

    def show(self, message_id: str) -> None:
        """Tell every reader which branch is shown from now on, by the message at its end."""
        self.shown = message_id
        self._notify()

    def grow(self, delta: Delta) -> Piece | None:
        """Take more of the answer. Returns the new event `self.seq`, or None while the tokens so
        far make no text; those tokens go into the next event."""
        self.token_ids += delta.token_ids
        self.token_offsets += delta.offsets
        self.logprobs += delta.logprobs
        said = delta.text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps none
        if not said:
            return None
        offset, is_first = len(self.text), self.first_text_at is None
        self._delta_offsets.append(offset)
        self.text += said
        self.seq += 1
        first, self._logged_tokens = self._logged_tokens, len(self.token_ids)
        self._waiting = None
        if is_first:
            self.first_text_at = time.monotonic()
            self._pulse.now(self._tell)
            mark("first text out")
        else:
            self._notify()
        ids, offsets = self.token_ids[first:], self.token_offsets[first:]
        return Piece(self.seq, offset, said, ids, offsets)

    def end(self, payload: dict[str, Any], seq: int) -> None:
        """Tell every reader that it is over. Nothing may be taken afterwards."""
        self._end = frame("message.end", **{**payload, "seq": seq})
        self._over.set()
        self._notify()

    async def read(self, outlet: Outlet, after: int) -> int:
        """Give `outlet` all that follows event `after` (turn.started or later), ending with
        message.end. Returns the number of that.

        The first delta goes out at once, later ones at the beats of the pulse. A reader's first
        frame carries all blocks, so it needs no memory of how earlier ones were rendered. Later
        ones carry those that changed, where they were due (`chat/live_blocks.py`), else none: the
        next frame with blocks makes good for it, at the latest the end.
        """
        reader = _Reader(outlet, after, asyncio.get_running_loop().create_future())
        self._reading.append(reader)
        LiveBlocks.reading(1)
        try:
            with self.readers.one():
                self._pulse.now(self._tell)
                await reader.done
        finally:
            self._reading.remove(reader)
            LiveBlocks.reading(-1)
        return reader.seq

    def _tell(self) -> bool:
        """Give every reader what is due. Returns whether somebody could not take it."""
        is_behind, with_blocks = False, self._blocks.are_due
        self._told.clear()
        for reader in self._reading:
            try:
                is_behind = self._tell_one(reader, with_blocks) or is_behind
            except Exception as error:
                if not reader.done.done():
                    reader.done.set_exception(error)
        return is_behind

    def _tell_one(self, reader: _Reader, with_blocks: bool) -> bool:
        while not reader.done.done():
            if reader.outlet.is_full:
                return True
            event = self._next(reader, with_blocks)
            if event is None:
                break
            reader.outlet.take(event)
            if event.kind == "message.end":
                reader.done.set_result(None)
        return False

    def _next(self, reader: _Reader, with_blocks: bool) -> Composed | None:
        """What is due to a reader; it counts as told."""
        if self.shown is not None and self.shown != reader.shown:
            reader.shown = self.shown
            its = {"session_id": self._ids["session_id"], "message_id": self.shown}
            return composed(frame("branch.shown", seq=reader.seq, **its))
        if self.seq > reader.seq:
            with_blocks = with_blocks or reader.blocks is None
            event = self._delta(reader.seq, reader.blocks, with_blocks)
            reader.seq = self.seq
            reader.blocks = self.seq if with_blocks else reader.blocks
            return event
        if self._end is not None:
            blocks = self._blocks.finished(self.text, self.seq, reader.blocks)
            reader.seq = self._end["seq"]
            return composed({**self._end, "blocks": blocks})
        if self._waiting is None or self._waiting is reader.told:
            return None
        reader.told = self._waiting
        return self._waiting_frame(self._waiting)

    async def wait_end(self) -> Frame:
        await self._over.wait()
        assert self._end is not None
        return self._end

    def has(self, seq: int) -> bool:
        """Whether `seq` is the number of an event of this turn."""
        last = self._end["seq"] if self._end else self.seq
        return self.started.seq <= seq <= self.seq or seq == last

    def _notify(self) -> None:
        if self._reading:
            self._pulse.soon(self._tell)

    def _delta(self, after: int, blocks: int | None, with_blocks: bool) -> Composed:
        """message.delta, composed once for all readers at one place. Written out, since this is
        what a site with many readers does most."""
        key = (after, blocks, with_blocks)
        if key not in self._told:
            offset = self._delta_offsets[after - self.started.seq]
            text = f'{{"v":1,"type":"message.delta","seq":{self.seq},{self._head},'
            text += f'"offset":{offset},"text":{quoted(self.text[offset:])}'
            if with_blocks:
                text += f',"blocks":{encode(self._blocks.changed(self.text, self.seq, blocks))}'
            self._told[key] = Composed("message.delta", self.seq, text + "}")
        return self._told[key]

    def _waiting_frame(self, event: Waiting | Summarising) -> Composed:
        if isinstance(event, Queued):
            fields = {"position": event.position}
            return composed(frame("queue.position", seq=self.seq, **self._ids, **fields))
        kinds = {Loading: "model.loading", Summarising: "context.summarising"}
        kind = kinds.get(type(event), "prompt.progress")
        fields = {"done": event.done, "total": event.total}
        return composed(frame(kind, seq=self.seq, **self._ids, **fields))
