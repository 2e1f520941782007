"""One websocket as Daphne's protocol, with what Daphne's own lacks: it knows when its client does
not keep up (ADR 10), and writes a text frame without ceremony (ADR 12)."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import structlog
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from chat.outlet import Composed

MAX_UNSENT = 256 * 1024
"""Bytes that may wait to be written to one socket. A frame that is on its way is still taken, and
no other one is made before all of them are gone."""
STALLED_S = 30.0
"""A socket from which nothing was taken for so long, while something waits, is closed."""
STALLED = 4002
STALLED_REASON = "nothing was read for too long"

TEXT = 0x81
"""The first byte of a message in one frame: the last of it, and text (RFC 6455, 5.2)."""
OUTLET = "tinyllm.outlet"
"""The extension of the ASGI scope under which a consumer finds its socket's `SocketOutlet`."""

_log = structlog.get_logger(__name__)


def text_head(size: int) -> bytes:
    """What a server puts in front of a text message of so many bytes: one frame, not masked."""
    if size < 126:
        return bytes((TEXT, size))
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, 126, size)
    return struct.pack("!BBQ", TEXT, 127, size)


@implementer(IPushProducer)
class SiteSocket(WebSocketProtocol):  # type: ignore[misc]
    """`room` is what a sender waits for. Its transport says through Twisted's producer interface
    when too much is unsent (`pauseProducing`) and when all of it is gone (`resumeProducing`)."""

    def onConnect(self, request: Any) -> Any:  # noqa: N802
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._written = self._most_taken = 0
        self._taken_at = time.monotonic()
        self.transport.bufferSize = MAX_UNSENT
        # The channel that spoke HTTP here before the upgrade is still registered.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        return super().onConnect(request)

    @property
    def is_full(self) -> bool:
        return self.state == self.STATE_OPEN and not self._has_room.is_set()

    async def room(self) -> None:
        """Return when no more than MAX_UNSENT bytes wait, or the connection is gone."""
        await self._has_room.wait()

    def pauseProducing(self) -> None:  # noqa: N802
        self._has_room.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._has_room.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._has_room.set()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        if hasattr(self, "_has_room"):  # else it was lost before it was a websocket
            self._has_room.set()
        super().connectionLost(reason)

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:  # noqa: N802
        if self.state in (self.STATE_CLOSING, self.STATE_CLOSED):
            return
        if self.state != self.STATE_OPEN or binary or self.send_queue:
            super().serverSend(content, binary)
            return
        payload = content.encode() if isinstance(content, str) else content
        data = text_head(len(payload)) + payload
        self._written += len(data)
        # Almost always the system takes all of it, and nobody has to wait for a writable socket.
        taken = 0 if self.unsent else self.transport.writeSomeData(data)
        if not isinstance(taken, int):  # the connection is lost, as its reader is about to hear
            return
        if taken < len(data):
            self.transport.write(data[taken:])

    def check_timeouts(self) -> None:
        """Daphne asks every other second."""
        super().check_timeouts()
        if self.state == self.STATE_OPEN and self._is_stalled():
            _log.warning("socket.stalled", client=self.client_addr, unsent=self.unsent)
            self.sendClose(code=STALLED, reason=STALLED_REASON)

    @property
    def unsent(self) -> int:
        """Bytes that wait here because the system takes no more of them."""
        line = self.transport
        return int(len(line.dataBuffer) - line.offset + line._tempDataLen)

    def _is_stalled(self) -> bool:
        unsent, now = self.unsent, time.monotonic()
        taken = self._written - unsent
        if not unsent or taken > self._most_taken:
            self._most_taken, self._taken_at = taken, now
        return now - self._taken_at > STALLED_S


class SocketOutlet:
    """See `chat.outlet.Outlet`. What is given to it is on its way when `take` returns, past the
    layers through which an ASGI application sends otherwise."""

    def __init__(self, line: SiteSocket) -> None:
        self._line = line

    @property
    def is_full(self) -> bool:
        return self._line.is_full

    def take(self, event: Composed | None) -> None:
        if event is not None:
            self._line.serverSend(event.text)

    async def room(self) -> None:
        await self._line.room()
