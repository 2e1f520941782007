"""When a lost connection is tried again, and when not."""

from __future__ import annotations

from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .calls import refused
from .errors import ApiError, ConnectionLost

LOST = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)
"""What a connection that ends, or does not come about, raises."""
RETRIES = 8
"""In a row, without a frame in between: for about half a minute."""
SIGNED_OUT = 4401


class Retrying:
    """Counts tries. `wait_s` after each one that failed; `worked` when something came."""

    def __init__(self) -> None:
        self._failed = 0

    def worked(self) -> None:
        self._failed = 0

    def wait_s(self, error: Exception | None) -> float:
        """error None: the site closed the connection. Raises ApiError where trying again is no use,
        ConnectionLost where it was tried often enough."""
        if isinstance(error, InvalidStatus):
            response = error.response
            if response.status_code < 500:
                raise refused(response.status_code, bytes(response.body or b""), response.headers)
        if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == SIGNED_OUT:
            raise ApiError("Nobody is signed in.", code="not_signed_in", status=401)
        self._failed += 1
        if self._failed > RETRIES:
            raise ConnectionLost(f"The site cannot be reached: {error}") from error
        return min(5.0, 0.1 * 2.0**self._failed)


def socket_url(base_url: str) -> str:
    return base_url.rstrip("/").replace("http", "ws", 1) + "/ws/chat/"


def headers_of(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


SOCKET: dict[str, Any] = {"max_size": None, "open_timeout": 20}
"""Of every connection: a frame may carry a whole answer."""
