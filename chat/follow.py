"""One reader of one session: the log from where it left off, then memory, then live."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from chat.database import in_database
from chat.generation import turns
from chat.live import LiveTurn
from chat.outlet import Composed, Frame, Outlet, Slot, composed, frame
from chat.replay import is_known, replay, started_frame
from chat.selectors import session_get
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
        if reading.is_sender or await _open(outlet, reading):
            await _follow(outlet, reading, listener)


async def _open(outlet: Outlet, reading: Reading) -> bool:
    """Whether there is something to follow from there."""
    session_id, after = reading.session_id, reading.after
    session = await in_database(session_get, owner_id=reading.owner_id, session_id=session_id)
    live = turns().get(session_id)
    seq = live.seq if live else session.last_seq
    known = (live is not None and live.has(after)) or await in_database(
        is_known, session_id=session_id, seq=after, last_seq=seq
    )
    if known:
        event = frame("session.opened", seq=seq, session_id=str(session_id), live=live is not None)
    else:
        event = frame("session.reset", seq=seq, session_id=str(session_id))
    outlet.take(composed(event))
    return known


def followed(reading: Reading) -> AsyncGenerator[Composed | None, None]:
    """What `follow` gives, for whoever can only iterate."""
    slot = Slot()
    return slot.filled_by(follow(slot, reading))


async def _follow(outlet: Outlet, reading: Reading, listener: Listener) -> None:
    session_id, seq = reading.session_id, reading.after
    while True:
        live = turns().get(session_id)
        if live is None or seq < live.started.seq:
            for past in await _past(reading, seq, live):
                await outlet.room()
                outlet.take(composed(past))
                seq = past["seq"]
        if live is not None and _has_more(live, seq):
            seq = await live.read(outlet, seq)
        elif not await listener.wait():
            outlet.take(None)


async def _past(reading: Reading, after: int, live: LiveTurn | None) -> list[Frame]:
    """Up to the beginning of the live turn, of which the memory knows as well as the log."""
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
        return [started_frame(seq, payload)]
    return [await asyncio.to_thread(started_frame, seq, payload)]


def _has_more(live: LiveTurn, seq: int) -> bool:
    return live.ended is None or live.ended["seq"] > seq
