"""One reader of one session: the log from where it left off, then memory, then live."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from chat.database import in_database
from chat.generation import turns
from chat.live import LiveTurn
from chat.monitoring.registry import STREAM_RESUMES
from chat.outlet import Composed, Frame, Outlet, Slot, composed, frame
from chat.replay import is_known, replay, started_frame
from chat.selectors import session_position
from chat.signals import Listener, listening

SHORT = 1000
"""Characters of a message that are rendered on the event loop."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Who reads which session, above which event. is_sender: it comes with a turn that it has just
    begun itself, so there is nothing to look up, and session.opened tells it nothing."""

    owner_id: uuid.UUID
    session_id: uuid.UUID
    after: int
    is_sender: bool = False


async def follow(outlet: Outlet, reading: Reading) -> None:
    """Give `outlet` every frame, without gap or repetition, for as long as this runs.

    Begins with session.opened. A number that no event carries gets session.reset, and the end. None
    is given now and then while nothing happens, so that a connection can be kept warm. Raises
    SessionNotFound, also when the session is deleted.
    """
    async with listening(reading.session_id) as listener:
        at = _Place(outlet, reading, reading.after)
        if reading.is_sender or await _open(at):
            await _follow(at, listener)


@dataclass(slots=True)
class _Place:
    """How far a reader has come. seq: of the last event it has. shown: the end of the branch that
    it was last told of."""

    outlet: Outlet
    reading: Reading
    seq: int
    shown: str | None = None

    async def take(self, event: Frame) -> None:
        await self.outlet.room()
        self.outlet.take(composed(event))
        self.seq = event["seq"]
        if event["type"] == "turn.started" and not event["continued"]:
            self.shown = event["message"]["id"]

    async def show(self, message_id: str | None) -> None:
        if message_id is not None and message_id != self.shown:
            ids = {"session_id": str(self.reading.session_id), "message_id": message_id}
            await self.take(frame("branch.shown", seq=self.seq, **ids))
            self.shown = message_id


async def _open(at: _Place) -> bool:
    """Whether there is something to follow from there."""
    reading, after = at.reading, at.seq
    session_id = reading.session_id
    # Asked before the database is: a turn that ends meanwhile knows its numbers, and the answer may
    # be of the time before.
    live = turns().get(session_id)
    if live is not None and after:
        STREAM_RESUMES.inc()
    last, shown = await in_database(
        session_position, owner_id=reading.owner_id, session_id=session_id
    )
    at.shown = str(shown) if shown else None
    live = turns().get(session_id) or live
    seq = live.seq if live else last
    known = (live is not None and live.has(after)) or await in_database(
        is_known, session_id=session_id, seq=after, last_seq=seq
    )
    if known:
        is_live = live is not None and live.ended is None
        told = {"session_id": str(session_id), "live": is_live, "shown": at.shown}
        event = frame("session.opened", seq=seq, **told)
    else:
        event = frame("session.reset", seq=seq, session_id=str(session_id))
    at.outlet.take(composed(event))
    return known


def followed(reading: Reading) -> AsyncGenerator[Composed | None, None]:
    """What `follow` gives, for whoever can only iterate."""
    slot = Slot()
    return slot.filled_by(follow(slot, reading))


async def _follow(at: _Place, listener: Listener) -> None:
    while True:
        live = turns().get(at.reading.session_id)
        if live is None or at.seq < live.started.seq:
            past, shown = await _past(at.reading, at.seq, live)
            for event in past:
                await at.take(event)
            await at.show(shown)
        if live is not None and _has_more(live, at.seq):
            at.seq = await live.read(at.outlet, at.seq)
            at.shown = live.shown or at.shown
        elif not await listener.wait():
            at.outlet.take(None)


async def _past(
    reading: Reading, after: int, live: LiveTurn | None
) -> tuple[list[Frame], str | None]:
    """Up to the beginning of the live turn, of which the memory knows as well as the log, and the
    end of the branch that is shown, where that had to be looked up."""
    if live is None or after < live.started.seq - 1:
        return await in_database(
            replay,
            owner_id=reading.owner_id,
            session_id=reading.session_id,
            after=after,
            until=live.started.seq if live else None,
        )
    seq, payload = live.started.seq, live.started.payload
    said = payload["user_message"]
    if said is None or len(said["text"]) <= SHORT:
        return [started_frame(seq, payload)], None
    return [await asyncio.to_thread(started_frame, seq, payload)], None


def _has_more(live: LiveTurn, seq: int) -> bool:
    return live.ended is None or live.ended["seq"] > seq
