"""A page that reads a temporary session: what is past, then live, again from where it left off."""

from __future__ import annotations

from chat.follow import Reading
from chat.outlet import Outlet, composed, frame
from chat.replay import started_frame
from chat.temporary.sessions import TemporarySession, temporary_sessions


async def follow_temporary(outlet: Outlet, reading: Reading) -> None:
    """As `chat.follow.follow` does. Raises SessionNotFound, also when it is dropped meanwhile."""
    known = temporary_sessions()
    ids = {"owner_id": reading.owner_id, "session_id": reading.session_id}
    session, seq = known.get(**ids), reading.after
    if not reading.is_sender:
        told = {"session_id": str(session.id), "live": session.live is not None, "shown": None}
        outlet.take(composed(frame("session.opened", seq=session.seq, **told)))
    with known.reader(session):
        while True:
            changed = session.changed
            seq = await _read_on(outlet, session, seq)
            await changed.wait()
            known.get(**ids)


async def _read_on(outlet: Outlet, session: TemporarySession, seq: int) -> int:
    """Up to the end of all that there is by now. Returns the number of its last event."""
    for event in [event for event in session.past if event["seq"] > seq]:
        await outlet.room()
        outlet.take(composed(event))
        seq = event["seq"]
    turn = session.live
    if turn is None:
        return seq
    if seq < turn.started.seq:
        await outlet.room()
        outlet.take(composed(started_frame(turn.started.seq, turn.started.payload)))
        seq = turn.started.seq
    return await turn.read(outlet, seq)
