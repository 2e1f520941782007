"""One HTTP request at a time: redirects followed by hand, failures told apart by whether trying
again can help. Only the standard library.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

_Result = TypeVar("_Result")

_MAX_REDIRECTS = 5
_MAX_BACKOFF_S = 10.0
REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_REASONS = {
    401: "it wants to know who asks: set HF_TOKEN",
    403: "access is refused: accept the model's terms on the hub, then set HF_TOKEN",
    404: "there is no such file",
}


class SourceError(Exception):
    """One source could not deliver. The message says why, for a person."""


class MissingFileError(SourceError):
    """The server answers, and has no such file."""


class ChecksumError(SourceError):
    """What arrived is not what was promised; it has been removed."""


class TransientError(Exception):
    """May go better next time."""


class UnreachableError(TransientError):
    """No answer at all: no such host, no route, refused, or silent for too long."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub is and how patient we are with it. Times in seconds.

    The first answer is awaited for `first_timeout_s` only, so that an unreachable hub costs
    little; `retries` counts failures in a row during which nothing arrived.
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = None
    offline: bool = False
    first_timeout_s: float = 5.0
    timeout_s: float = 30.0
    retries: int = 5
    backoff_s: float = 0.5


def patiently(
    call: Callable[[], _Result],
    settings: HubSettings,
    *,
    got_further: Callable[[], bool] = lambda: False,
) -> _Result:
    """`call` again, with growing pauses, until it works or keeps failing without progress.

    Raises SourceError with the last reason.
    """
    failures = 0
    while True:
        try:
            return call()
        except TransientError as error:
            failures = 1 if got_further() else failures + 1
            if failures > settings.retries:
                tries = f" ({failures} tries)" if failures > 1 else ""
                raise SourceError(f"{error}{tries}") from error
        time.sleep(min(settings.backoff_s * 2 ** (failures - 1), _MAX_BACKOFF_S))


class _NoRedirects(HTTPRedirectHandler):
    """Redirects come back to us: the digest is in the first answer's headers, and the token must
    not travel to the host that the second comes from."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = build_opener(_NoRedirects)


def send_request(
    method: str,
    url: str,
    settings: HubSettings,
    *,
    timeout: float,
    begin: int = 0,
    stop_at_digest: bool = False,
) -> HTTPResponse:
    """Follow redirects to an answer, whatever its status. `stop_at_digest`: the answer that names
    a digest will do, even if it is a redirect. Raises TransientError, SourceError."""
    headers = {"User-Agent": "tinyllm", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    for _ in range(_MAX_REDIRECTS):
        response = _send(Request(url, headers=headers, method=method), settings, timeout)  # noqa: S310
        location = response.headers.get("Location")
        has_digest = "X-Linked-Etag" in response.headers
        if response.status not in REDIRECTS or not location or (stop_at_digest and has_digest):
            return response
        response.close()
        url = urljoin(url, location)
    raise SourceError(f"more than {_MAX_REDIRECTS} redirects from {url}")


def _send(request: Request, settings: HubSettings, timeout: float) -> HTTPResponse:
    address = urlsplit(request.full_url)
    if address.scheme not in ("http", "https"):
        raise SourceError(f"{request.full_url} is not an http address")
    home = urlsplit(settings.endpoint)
    if settings.token and (address.scheme, address.netloc) == (home.scheme, home.netloc):
        request.add_header("Authorization", f"Bearer {settings.token}")
    try:
        response: HTTPResponse = _opener.open(request, timeout=timeout)
    except HTTPError as error:
        return error  # type: ignore[return-value]  # it is a response too
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise UnreachableError(
            f"{address.netloc} cannot be reached: {reason or type(reason).__name__}"
        ) from error
    return response


def raise_for_status(response: HTTPResponse, url: str) -> None:
    status = response.status
    if status < 300 or status in REDIRECTS:
        return
    message = f"{file_name(url)}: {_REASONS.get(status, response.reason)} (HTTP {status})"
    if status in _TRY_AGAIN:
        raise TransientError(message)
    raise (MissingFileError if status == 404 else SourceError)(message)


def file_name(url: str) -> str:
    return urlsplit(url).path.rsplit("/", 1)[-1]
