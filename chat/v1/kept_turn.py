"""A call as a turn of a session: begun by the same door as a page's, and heard as any other call.
Who leaves is one reader less; where nobody reads, the answer is ended (`chat.generation`)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chat.generation import turns
from chat.live import LiveTurn
from chat.outlet import Slot
from chat.submission import Submission
from chat.v1.errors import TurnFailed
from chat.v1.running import PING_S, Refused, Said
from inference.types import Delta, Finished, Timings


async def begin(submission: Submission, *, owner_id: uuid.UUID) -> LiveTurn:
    """Raises ChatError, EngineError; nothing is kept then."""
    accepted = await turns().submit(owner_id=owner_id, submission=submission)
    assert accepted.live is not None
    return accepted.live


async def whole_turn(turn: LiveTurn) -> None:
    """Until it has ended. Raises TurnFailed."""
    with turn.readers.one():
        await turn.wait_end()
    if turn.failure is not None:
        raise TurnFailed(turn.failure)


async def said(turn: LiveTurn) -> AsyncGenerator[Said, None]:
    """As `chat.v1.running.answers` says one answer. Raises TurnFailed."""
    slot, told, spoke = Slot(), _Told(turn), time.monotonic()
    async with aclosing(slot.filled_by(_read(turn, slot))) as frames:
        due = asyncio.ensure_future(anext(frames, None))
        try:
            while not due.done() or due.result() is not None:
                patience = max(0.0, spoke + PING_S - time.monotonic())
                await asyncio.wait([due], timeout=patience)
                delta = told.more()
                if delta.token_ids or time.monotonic() - spoke >= PING_S:
                    spoke = time.monotonic()
                    yield (0, delta) if delta.token_ids else None
                if due.done() and due.result() is not None:
                    due = asyncio.ensure_future(anext(frames, None))
        finally:
            due.cancel()
            await asyncio.wait([due])
    if turn.failure is not None:
        raise TurnFailed(turn.failure)
    yield 0, told.end()


async def _read(turn: LiveTurn, slot: Slot) -> None:
    await turn.read(slot, turn.started.seq)


class _Told:
    """How much of a turn was said already."""

    def __init__(self, turn: LiveTurn) -> None:
        self._turn = turn
        self._characters, self._tokens = len(turn.started.content), 0

    def more(self) -> Delta:
        """With the tokens that have come since a text was told."""
        turn = self._turn
        text = turn.text[self._characters :]
        ids = tuple(turn.token_ids[self._tokens :]) if text or turn.ended else ()
        told = tuple(turn.logprobs[self._tokens :][: len(ids)])
        self._characters += len(text)
        self._tokens += len(ids)
        return Delta(text, ids, (), told)

    def end(self) -> Finished | Refused:
        ended = self._turn.ended
        assert ended is not None
        if ended["finish_reason"] == "content_filter":
            return Refused()
        usage, reason = ended["usage"], ended["finish_reason"]
        return Finished(reason, **usage, seed=ended["seed"] or 0, timings=Timings())
