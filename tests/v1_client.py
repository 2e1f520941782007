"""Calls to /v1/ within this process, and what their answers hold."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.test import AsyncClient

from tests.fake_engine import FakeEngine

HELLO = [{"role": "user", "content": "Hello"}]


async def post(path: str, body: Any, **headers: str) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return await AsyncClient().post(
        path if path.startswith("/") else f"/v1/{path}",
        text,
        content_type="application/json",
        headers=headers,
    )


async def chat(**body: Any) -> Any:
    return await post("chat/completions", {"model": "chat", "messages": HELLO, **body})


async def complete(**body: Any) -> Any:
    return await post("completions", {"model": "story", "prompt": "Once", "max_tokens": 99, **body})


async def arrived(site: FakeEngine, count: int) -> None:
    while len(site.requests) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def frames(answer: Any) -> list[str]:
    """What stands in the frames of a stream; a comment is what it is."""
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/event-stream"
    assert (answer["Cache-Control"], answer["X-Accel-Buffering"]) == ("no-cache", "no")
    text = b"".join([part async for part in answer.streaming_content]).decode()
    assert text.endswith("\n\n")
    return [frame.removeprefix("data: ") for frame in text[:-2].split("\n\n")]


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error
