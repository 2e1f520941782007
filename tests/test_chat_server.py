"""Daphne as we run it: a sender waits for a client that reads slowly."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor

from chat.server import PortTaken, SiteServer, listen

MESSAGE = {"type": "websocket.send", "text": "x"}


class Line:
    """A connection whose unsent bytes the test decides about."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.full = False
        self.transport = SimpleNamespace(connected=True, _isSendBufferFull=lambda: self.full)

    def handle_reply(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.fixture
def server() -> SiteServer:
    made = SiteServer(None, listen("127.0.0.1", 0))
    made._listener.close()
    made.connections = {}
    return made


async def test_sending_waits_while_a_client_does_not_read(server: SiteServer) -> None:
    line = Line()
    server.connections[line] = {}
    await server.handle_reply(line, MESSAGE)
    line.full = True
    sending = asyncio.create_task(server.handle_reply(line, MESSAGE))
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done
    assert len(line.sent) == 2
    line.full = False
    await sending


async def test_a_client_that_leaves_holds_nobody_up(server: SiteServer) -> None:
    line = Line()
    line.full = True
    server.connections[line] = {}
    sending = asyncio.create_task(server.handle_reply(line, MESSAGE))
    await asyncio.wait([sending], timeout=0.05)
    line.transport.connected = False
    await sending
    server.connections[line]["disconnected"] = 1.0
    await server.handle_reply(line, MESSAGE)
    assert len(line.sent) == 1


class Unwatched(FileDescriptor):
    """A transport that no reactor writes out."""

    connected = 1

    def startWriting(self) -> None:  # noqa: N802
        pass


def test_twisted_s_connections_can_be_asked() -> None:
    """These are Twisted's own and not public: this fails first if they go away."""
    line: Any = Unwatched()
    line.write(b"three")
    assert (line.dataBuffer, line.offset, line._tempDataLen) == (b"", 0, 5)
    assert not line._isSendBufferFull()
    line.bufferSize = 4
    assert line._isSendBufferFull()


def test_a_taken_port_is_told_from_other_failures() -> None:
    first = listen("127.0.0.1", 0)
    with pytest.raises(PortTaken):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
    with pytest.raises(OSError, match="assign"):
        listen("192.0.2.1", 0)
