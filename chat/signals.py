"""The channel layer carries signals: "look at this session again", and "its place in the list has
changed". Never text.

A lost signal costs a reader at most POLL_S, since it looks again by itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from channels.layers import get_channel_layer

POLL_S = 15.0


def _group(session_id: uuid.UUID) -> str:
    return f"session.{session_id}"


async def announce(session_id: uuid.UUID) -> None:
    """Something begins or ended in this session, and is already there to be read."""
    await _layer().group_send(_group(session_id), {"type": "session.changed"})


def owner_group(owner_id: uuid.UUID) -> str:
    return f"owner.{owner_id}"


async def announce_edit(owner_id: uuid.UUID, session: dict[str, Any]) -> None:
    """To all pages of its owner: this is what a session looks like in the list now. The one signal
    with contents: they are small, and the list is read again when a page comes back."""
    await _layer().group_send(owner_group(owner_id), {"type": "list.changed", "session": session})


async def announce_inspection(owner_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """To all pages of its owner: who runs the site may read this session now."""
    told = {"type": "session.inspected", "session_id": str(session_id)}
    await _layer().group_send(owner_group(owner_id), told)


async def announce_access(owner_id: uuid.UUID) -> None:
    """To all sockets of an account: look whether you may still be open."""
    await _layer().group_send(owner_group(owner_id), {"type": "access.changed"})


class Listener:
    def __init__(self, layer: Any, channel: str) -> None:
        self._layer = layer
        self._channel = channel

    async def wait(self) -> bool:
        """Until the next signal, or POLL_S. Returns whether there was one."""
        try:
            # Not `wait_for`: before Python 3.12 it forgets to be cancelled where a signal comes in
            # the same moment, and its reader would stay for ever.
            async with asyncio.timeout(POLL_S):
                await self._layer.receive(self._channel)
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def listening(session_id: uuid.UUID) -> AsyncIterator[Listener]:
    """Signals sent after this is entered are kept until `wait` is called."""
    layer = _layer()
    channel = await layer.new_channel()
    await layer.group_add(_group(session_id), channel)
    try:
        yield Listener(layer, channel)
    finally:
        await layer.group_discard(_group(session_id), channel)


def _layer() -> Any:
    return get_channel_layer()
