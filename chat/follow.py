"""One reader of one session: the log from where it left off, then memory, then live."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator

from chat.database import in_database
from chat.generation import turns
from chat.live import Frame, LiveTurn, frame
from chat.replay import is_known, replay
from chat.selectors import session_get
from chat.signals import Listener, listening


async def follow(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, after: int, opened: bool = True
) -> AsyncGenerator[Frame | None, None]:
    """Every frame above `after`, without gap or repetition, for as long as the reader stays.

    Begins with session.opened (unless `opened` is false). A number that no event carries gets
    session.reset, and the end. None is yielded now and then while nothing happens, so that a
    connection can be kept warm. Raises SessionNotFound, also when the session is deleted.
    """
    async with listening(session_id) as listener:
        session = await in_database(session_get, owner_id=owner_id, session_id=session_id)
        live = turns().get(session_id)
        last = live.seq if live else session.last_seq
        known = (live is not None and live.has(after)) or await in_database(
            is_known, session_id=session_id, seq=after, last_seq=last
        )
        if not known:
            yield frame("session.reset", seq=last, session_id=str(session_id))
            return
        if opened:
            yield frame(
                "session.opened", seq=last, session_id=str(session_id), live=live is not None
            )
        async for event in _events(owner_id, session_id, after, listener):
            yield event


async def _events(
    owner_id: uuid.UUID, session_id: uuid.UUID, after: int, listener: Listener
) -> AsyncGenerator[Frame | None, None]:
    cursor = after
    while True:
        live = turns().get(session_id)
        until = live.started.seq if live else None
        if live is None or cursor < live.started.seq:
            for past in await in_database(
                replay, owner_id=owner_id, session_id=session_id, after=cursor, until=until
            ):
                cursor = past["seq"]
                yield past
        if live is not None and _has_more(live, cursor):
            async for present in live.frames(cursor):
                cursor = max(cursor, present["seq"])
                yield present
        elif not await listener.wait():
            yield None


def _has_more(live: LiveTurn, cursor: int) -> bool:
    return live.ended is None or live.ended["seq"] > cursor
