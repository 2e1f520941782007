"""Every call of the API as a plain value: what is asked, and how the answer is read. Both clients
send the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from .errors import ApiError
from .shapes import Hit, Message, Page, Session, made

T = TypeVar("T")
_SESSIONS = "/api/v1/sessions"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """parse: of the answer's JSON."""

    method: str
    path: str
    parse: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    files: Any = None

    def request(self) -> dict[str, Any]:
        """For httpx."""
        asked = {"method": self.method, "url": self.path, "params": self.params}
        return {**asked, "json": self.json, "files": self.files}

    def read(self, answer: httpx.Response) -> T:
        """Raises ApiError."""
        if answer.is_success:
            return self.parse(answer.json() if answer.content else None)
        raise refused(answer.status_code, answer.content, answer.headers)


def refused(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """What the site says of a refusal, or of one that something in front of it makes."""
    try:
        error = httpx.Response(status, content=body).json()["error"]
        said = {"code": error["code"] or "", "param": error["param"]}
        message = error["message"]
    except (ValueError, KeyError, TypeError):
        said, message = {"code": ""}, f"HTTP {status}: {body[:200].decode(errors='replace')}"
    after = headers.get("retry-after", "")
    wait = int(after) if after.isdigit() else None
    return ApiError(message, status=status, retry_after_s=wait, **said)


def sessions(cursor: str = "", *, limit: int = 100, archived: bool = False) -> Call[Page[Session]]:
    params = {"cursor": cursor, "limit": limit, "archived": archived}
    return Call("GET", _SESSIONS, _page(Session), params)


def create_session(
    model: str, title: str | None, settings: Mapping[str, Any] | None
) -> Call[Session]:
    body = {"model": model, "title": title, "settings": settings}
    return Call("POST", _SESSIONS, _one(Session), json=body)


def session(session_id: str) -> Call[Session]:
    return Call("GET", f"{_SESSIONS}/{session_id}", _one(Session))


def change_session(session_id: str, changes: Mapping[str, Any]) -> Call[Session]:
    return Call("PATCH", f"{_SESSIONS}/{session_id}", _one(Session), json=changes)


def delete_session(session_id: str) -> Call[None]:
    return Call("DELETE", f"{_SESSIONS}/{session_id}", lambda told: None)


def messages(
    session_id: str, cursor: str = "", *, branch: str = "shown", limit: int = 200
) -> Call[Page[Message]]:
    params = {"cursor": cursor, "branch": branch, "limit": limit}
    return Call("GET", f"{_SESSIONS}/{session_id}/messages", _page(Message), params)


def stop(session_id: str) -> Call[str | None]:
    return Call("POST", f"{_SESSIONS}/{session_id}/stop", lambda told: told["message_id"])


def search(text: str) -> Call[list[Hit]]:
    return Call("GET", "/api/v1/search", lambda told: _page(Hit)(told).data, {"q": text})


def upload(path: Path) -> Call[str]:
    files = {"file": (path.name, path.read_bytes())}
    return Call("POST", "/api/files", lambda told: str(told["id"]), files=files)


def _one(kind: type[T]) -> Callable[[Any], T]:
    return lambda told: made(kind, told)


def _page(kind: type[T]) -> Callable[[Any], Page[T]]:
    return lambda told: Page([made(kind, each) for each in told["data"]], told.get("next_cursor"))
