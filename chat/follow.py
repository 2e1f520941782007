"""One reader of one session: the log from where it left off, then memory, then live."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from chat.database import in_database
from chat.generation import turns
from chat.live import LiveTurn
from chat.outlet import Composed, Outlet, Slot, composed, frame
from chat.replay import is_known, replay
from chat.selectors import session_get
from chat.signals import Listener, listening


@dataclass(frozen=True, slots=True)
class Reading:
    """Who reads which session, above which event. opened: whether session.opened is wanted."""

    owner_id: uuid.UUID
    session_id: uuid.UUID
    after: int
    opened: bool = True


async def follow(outlet: Outlet, reading: Reading) -> None:
    """Give `outlet` every frame, without gap or repetition, for as long as this runs.

    Begins with session.opened, if wanted. A number that no event carries gets session.reset, and
    the end. None is given now and then while nothing happens, so that a connection can be kept
    warm. Raises SessionNotFound, also when the session is deleted.
    """
    owner_id, session_id, after = reading.owner_id, reading.session_id, reading.after
    async with listening(session_id) as listener:
        session = await in_database(session_get, owner_id=owner_id, session_id=session_id)
        live = turns().get(session_id)
        last = live.seq if live else session.last_seq
        known = (live is not None and live.has(after)) or await in_database(
            is_known, session_id=session_id, seq=after, last_seq=last
        )
        name = str(session_id)
        if not known:
            outlet.take(composed(frame("session.reset", seq=last, session_id=name)))
            return
        if reading.opened:
            is_live = live is not None
            opened = frame("session.opened", seq=last, session_id=name, live=is_live)
            outlet.take(composed(opened))
        await _follow(outlet, reading, listener)


def followed(reading: Reading) -> AsyncGenerator[Composed | None, None]:
    """What `follow` gives, for whoever can only iterate."""
    slot = Slot()
    return slot.filled_by(follow(slot, reading))


async def _follow(outlet: Outlet, reading: Reading, listener: Listener) -> None:
    session_id, seq = reading.session_id, reading.after
    while True:
        live = turns().get(session_id)
        until = live.started.seq if live else None
        if live is None or seq < live.started.seq:
            for past in await in_database(
                replay, owner_id=reading.owner_id, session_id=session_id, after=seq, until=until
            ):
                await outlet.room()
                outlet.take(composed(past))
                seq = past["seq"]
        if live is not None and _has_more(live, seq):
            seq = await live.read(outlet, seq)
        elif not await listener.wait():
            outlet.take(None)


def _has_more(live: LiveTurn, seq: int) -> bool:
    return live.ended is None or live.ended["seq"] > seq
