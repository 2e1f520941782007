"""Calls of /v1/responses within this process, whose answers are as OpenAI's own types have them."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.v1_client import post

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


async def response_to(body: dict[str, Any]) -> dict[str, Any]:
    answer = await post("responses", body)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    Response.model_validate(told)
    return told


async def events_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of a stream."""
    answer = await post("responses", {**body, "stream": True})
    text = b"".join([part async for part in answer.streaming_content]).decode()
    told = [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n")[:-1]]
    for each in told:
        _EVENT.validate_python(each)
    return told
