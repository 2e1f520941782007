"""An answer that was begun for a caller is not written on for nobody."""

from __future__ import annotations

import asyncio

from chat import live_settings
from chat.live import LiveTurn

ARRIVAL_S = 0.1
"""How long after the beginning of a turn its caller counts as its reader, wherever it is."""


async def deserted(turn: LiveTurn) -> bool:
    """Wait until the turn ends, or until nobody has read it for a while: whether it was that."""
    await asyncio.sleep(ARRIVAL_S)
    grace_s = live_settings.value("TINYLLM_DISCONNECT_GRACE_S")
    leaving = asyncio.create_task(turn.readers.away(grace_s))
    ending = asyncio.create_task(turn.wait_end())
    await asyncio.wait([leaving, ending], return_when=asyncio.FIRST_COMPLETED)
    is_over = ending.done()
    for task in (leaving, ending):
        task.cancel()
    return not is_over
