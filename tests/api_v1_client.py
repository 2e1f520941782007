"""Calls to /api/v1/ within this process, and what their answers hold."""

from __future__ import annotations

import json
from typing import Any

from django.test import AsyncClient

NOBODYS = "00000000-0000-4000-8000-000000000000"
"""The id of nothing."""


async def call(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The answer of /api/v1/`path`."""
    text = "" if body is None else json.dumps(body)
    kind = "" if body is None else "application/json"
    return await AsyncClient().generic(
        method.upper(), f"/api/v1/{path}", text, kind, headers=headers
    )


async def told(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """What it says, where it says so with this status."""
    answer = await call(method, path, body)
    assert answer.status_code == status, answer.content
    return json.loads(answer.content) if answer.content else None


async def refused(method: str, path: str, body: Any = None) -> tuple[int, str, str | None, str]:
    """Status, code, param and message of a refusal."""
    answer = await call(method, path, body)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"], error["message"]


async def session(**fields: Any) -> str:
    """The id of a new one."""
    made: str = (await told("post", "sessions", fields, status=201))["id"]
    return made


async def say(session_id: str, text: str, **fields: Any) -> Any:
    """The answer, complete."""
    body = {"input": text, **fields}
    return await told("post", f"sessions/{session_id}/messages", body, status=201)


async def tree(session_id: str, query: str = "") -> list[dict[str, Any]]:
    page = await told("get", f"sessions/{session_id}/messages?limit=200&{query}")
    rows: list[dict[str, Any]] = page["data"]
    return rows


async def frames(answer: Any) -> list[dict[str, Any]]:
    """The frames of a stream, as JSON, without pings."""
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/event-stream"
    text = b"".join([part async for part in answer.streaming_content]).decode()
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]
