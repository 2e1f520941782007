"""The door in front of everything: who may talk to this server at all.

A server on one's own machine has no login, and any page in one's browser can send requests to it.
So local mode answers only what a person on this machine sent from this site's own pages. With
accounts, only websockets need a check of their own: browsers send their cookies from any page.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware for HTTP (event streams too) and websockets."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            await _forbid(send, reason)


def refusal(scope: Scope) -> str | None:
    """Why this request is not answered, or None."""
    headers = _Headers(scope)
    if settings.TINYLLM_LOCAL:
        return _not_loopback(scope) or _not_local_host(headers) or _foreign(headers)
    return _foreign(headers) if scope["type"] == "websocket" else None


def _not_loopback(scope: Scope) -> str | None:
    for side in ("server", "client"):
        address = scope.get(side)
        if not address or not is_loopback(address[0]):
            return "Local mode answers only on this machine's loopback address."
    return None


def _not_local_host(headers: _Headers) -> str | None:
    if any(name == "forwarded" or name.startswith("x-forwarded-") for name in headers.names):
        return "Local mode does not answer through a proxy (X-Forwarded-* or Forwarded is set)."
    hosts = headers.all("host")
    if len(hosts) != 1 or _hostname(hosts[0]) not in LOCAL_NAMES:
        return f"Local mode answers only to the hosts {', '.join(LOCAL_NAMES)}."
    return None


def _foreign(headers: _Headers) -> str | None:
    if "cross-site" in headers.all("sec-fetch-site"):
        return "The request comes from another site (Sec-Fetch-Site: cross-site)."
    host = headers.all("host")[:1]
    for origin in headers.all("origin"):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or [parts.netloc.lower()] != host:
            return f"The request comes from another site (Origin: {origin[:200]})."
    return None


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1").strip().lower())
            for name, value in scope["headers"]
        ]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._pairs]

    def all(self, wanted: str) -> list[str]:
        return [value for name, value in self._pairs if name == wanted]


async def _forbid(send: Send, reason: str) -> None:
    body = json.dumps(
        {
            "error": {
                "message": reason,
                "type": "permission_error",
                "param": None,
                "code": "forbidden_origin",
            }
        }
    ).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
