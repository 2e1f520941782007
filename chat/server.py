"""Daphne inside `manage.py serve`: a socket opened beforehand, back-pressure, a quiet end."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import time
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.internet import defer, reactor

from chat.site_socket import OUTLET, STALLED_S, SiteSocket, SocketOutlet

MAX_FRAME = 16 * 1024 * 1024
"""Bytes of one websocket message. Text over the site's own limit is refused in words; beyond
this the connection is closed."""
UNSENT_POLL_S = 0.02
GOING_AWAY = 4001
"""Our own code: 1001 says this, but the library under Daphne lets applications send none below
3000 except 1000, which clients take for a wish to stay away."""
GOODBYE_POLL_S = 0.02
GOODBYE_POLLS = 50
ARRIVAL_S, BYTES_PER_S = 60.0, 1000
"""How long a request may take to arrive, and how many bytes of it win another second. Twisted's own
limit is a minute without a single byte."""


class PortTaken(Exception):
    """Another program listens there already."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken, and OSError for an address that is not ours."""
    family, kind, proto, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken from None
        raise
    return listener


class SiteServer(Server):  # type: ignore[misc]
    """Serves `application` on `listener` until `stop`; call `run` in the main thread."""

    def __init__(self, application: Any, listener: socket.socket) -> None:
        super().__init__(
            application,
            endpoints=["the listener, see _adopt"],
            signal_handlers=False,
            ready_callable=self._adopt,
            websocket_max_message_size=MAX_FRAME,
            websocket_max_frame_size=MAX_FRAME,
            server_name="tinyllm",
        )
        self.endpoints: list[str] = []
        self._listener = listener

    def _adopt(self) -> None:
        self.ws_factory.protocol = SiteSocket
        reactor.adoptStreamPort(self._listener.fileno(), self._listener.family, self.http_factory)
        self._listener.close()

    def timeout_checker(self) -> None:
        """Every two seconds."""
        super().timeout_checker()
        for protocol, details in list(self.connections.items()):
            if isinstance(protocol, WebRequest) and _is_late(protocol, details["connected"]):
                _refuse_late(protocol)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, SiteSocket):
            scope = {**scope, "extensions": {OUTLET: SocketOutlet(protocol)}}
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Daphne's own never waits: a client that reads slowly would fill our memory. Whoever
        sends waits here, before and after, until what was sent earlier is on its way."""
        if isinstance(protocol, SiteSocket):
            if protocol.is_full:
                await protocol.room()
            await super().handle_reply(protocol, message)
            if protocol.is_full:
                await protocol.room()
        else:
            await super().handle_reply(protocol, message)
            await self._until_taken(protocol)

    async def _until_taken(self, protocol: Any) -> None:
        """Of a reply over HTTP, whose channel keeps Twisted's signal for itself: so we ask."""
        patience = asyncio.get_running_loop().time() + STALLED_S
        while protocol in self.connections and _is_backed_up(protocol):
            if asyncio.get_running_loop().time() > patience:
                protocol.transport.abortConnection()
            await asyncio.sleep(UNSENT_POLL_S)

    async def say_goodbye(self) -> None:
        """Close every websocket, after what was sent on it, and give clients a moment to agree."""
        for protocol in [each for each in self.connections if _is_open_socket(each)]:
            protocol.serverClose(code=GOING_AWAY)
        for _ in range(GOODBYE_POLLS):
            if not any(_is_open_socket(each) for each in self.connections):
                return
            await asyncio.sleep(GOODBYE_POLL_S)

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Daphne's own fails on a connection that is between two requests."""
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        for application in running:
            application.cancel()
        return defer.Deferred.fromFuture(
            asyncio.ensure_future(asyncio.gather(*running, return_exceptions=True))
        )


def _is_late(request: Any, since: float) -> bool:
    """Whether it should have arrived by now."""
    if hasattr(request, "request_start"):
        return False
    came = request.content.tell() if request.content else 0
    return bool(time.time() - since > ARRIVAL_S + came / BYTES_PER_S)


def _refuse_late(request: Any) -> None:
    """As the site refuses, which has not heard of it: so nobody knows which language is read."""
    told: dict[str, Any] = {
        "code": "request_timeout",
        "message": "The request took too long to arrive. Send it again.",
        "type": "invalid_request_error",
        "param": None,
        "retryable": True,
        "fields": {},
    }
    head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
    head += "Connection: close\r\n\r\n"
    request.channel.transport.write((head + json.dumps({"error": told})).encode())
    request.channel.timeoutConnection()


def _is_open_socket(protocol: Any) -> bool:
    return isinstance(protocol, SiteSocket) and protocol.state != protocol.STATE_CLOSED


def _is_backed_up(protocol: Any) -> bool:
    transport = protocol.transport
    full = getattr(transport, "_isSendBufferFull", None)
    return bool(full and transport.connected and full())
