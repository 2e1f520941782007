"""/v1/responses on the scripted engine: responses, events, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat.database import in_database
from chat.models import Message
from inference.errors import RequestFailed
from tests.fake_engine import FakeEngine, prompt_text
from tests.v1_client import error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def respond(**body: Any) -> Any:
    return await post("responses", {"model": "chat", "input": "Hello", **body})


async def events(answer: Any) -> list[dict[str, Any]]:
    text = b"".join([part async for part in answer.streaming_content]).decode()
    told = [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n")[:-1]]
    assert [data["sequence_number"] for data in told] == list(range(len(told)))
    return told


async def test_a_response(site: FakeEngine) -> None:
    answer = await respond(instructions="Be kind.", metadata={"a": "b"}, temperature=0.25)
    body = answer.json()
    row = await in_database(Message.objects.get, role="assistant")
    assert body["id"] == f"resp_{row.id.hex}"
    assert (body["object"], body["status"], body["store"]) == ("response", "completed", True)
    assert (body["metadata"], body["instructions"]) == ({"a": "b"}, "Be kind.")
    (item,) = body["output"]
    assert (item["role"], item["content"][0]["text"]) == ("assistant", "You said: Hello")
    prompt = site.requests[0]
    assert prompt_text(prompt) == "system\nBe kind.\nuser\nHello\nassistant\n"
    assert prompt.sampling.temperature == body["temperature"] == 0.25
    assert body["usage"]["input_tokens"] == len(prompt.prompt_ids)
    assert body["usage"]["output_tokens"] == 16


@pytest.mark.parametrize("store", [True, False])
async def test_a_conversation_comes_back_with_our_own_answer(site: FakeEngine, store: bool) -> None:
    first = (await respond()).json()
    part = {"type": "input_text", "text": "More"}
    question = {"role": "user", "content": [part]}
    start = {"type": "message", "role": "user", "content": "Hello"}
    answer = await respond(
        input=[start, *first["output"], question], max_output_tokens=4, store=store
    )
    assert "warnings" not in answer
    assert prompt_text(site.requests[1]) == (
        "user\nHello\nassistant\nYou said: Hello\nuser\nMore\nassistant\n"
    )
    body = answer.json()
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("store", [True, False])
async def test_the_events_of_a_stream(site: FakeEngine, store: bool) -> None:
    told = await events(await respond(stream=True, store=store))
    kinds = [data["type"].removeprefix("response.") for data in told]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert "".join(data["delta"] for data in told[4:-4]) == "You said: Hello"
    assert told[0]["response"]["status"] == "in_progress"
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "You said: Hello"


@pytest.mark.parametrize("store", [True, False])
async def test_a_failure_in_the_midst_is_an_event(site: FakeEngine, store: bool) -> None:
    site.script = lambda request: ["Some ", RequestFailed("Numbers.", request_id="r")]
    last = (await events(await respond(stream=True, store=store)))[-1]
    assert (last["type"], last["code"]) == ("error", "request_failed")
    assert last["error"]["type"] == "server_error"


USER, ANSWER, SYSTEM = ({"role": r, "content": "Hi"} for r in ("user", "assistant", "system"))
TOOL = {"type": "function", "name": "get_time"}
NAMED = {"type": "function", "name": "get_weather"}
CALL = {"type": "function_call", "call_id": "1", "name": "get_time", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "1", "output": "noon"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
LOGPROBS = ["message.output_text.logprobs"]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
    ({"background": True}, "unsupported_parameter", "background"),
    ({"input": [ANSWER]}, "invalid_request", "input"),
    ({"input": [USER, SYSTEM, USER]}, "invalid_request", "input[1].role"),
    ({"input": "a\x00b"}, "invalid_request", "input"),
    ({"metadata": {"a": "\x00"}}, "invalid_request", "metadata"),
    ({"instructions": "\x00"}, "invalid_request", "instructions"),
    ({"tools": [{"type": "web_search"}]}, "unsupported_parameter", "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "invalid_request", "tools[0].name"),
    ({"tools": [{"type": "function", "name": "a\x00"}]}, "invalid_request", "tools[0].name"),
    ({"tools": [{**TOOL, "description": "\x00"}]}, "invalid_request", "tools"),
    ({"tools": [TOOL, TOOL]}, "invalid_request", "tools"),
    ({"tool_choice": "required"}, "invalid_request", "tool_choice"),
    ({"tool_choice": {"type": "web_search"}}, "invalid_request", "tool_choice"),
    ({"tools": [TOOL], "tool_choice": NAMED}, "invalid_request", "tool_choice"),
    ({"tools": [TOOL], "include": LOGPROBS}, "unsupported_parameter", "include"),
    ({"tools": [TOOL], "model": "story"}, "invalid_parameter", "tools"),
    ({"input": [{**CALL, "arguments": "[]"}]}, "invalid_request", "input[0].arguments"),
    ({"input": [{"type": "function_call"}]}, "invalid_request", "input[0].call_id"),
    ({"input": [{**RESULT, "call_id": None}]}, "invalid_request", "input[0].call_id"),
    ({"input": [CALL, {**RESULT, "output": "\x00"}]}, "invalid_request", "input"),
    ({"input": [CALL, {**RESULT, "call_id": "2"}]}, "invalid_request", "input"),
    ({"input": [RESULT], "store": False}, "invalid_request", "input"),
    ({"input": [CALL]}, "invalid_request", "input"),
    ({"text": {"format": {"type": "xml"}}}, "invalid_request", "text.format.type"),
    ({"input": [{"type": "function_call_output"}]}, "invalid_request", "input[0].output"),
    (
        {"input": [{"role": "user", "content": [IMAGE]}]},
        "unsupported_content",
        "input[0].content[0]",
    ),
    ({"input": [{"type": "computer_call"}]}, "unsupported_content", "input[0]"),
    ({"input": []}, "invalid_request", "input"),
    ({"input": 7}, "invalid_request", "input"),
    ({"max_output_tokens": 0}, "invalid_parameter", "max_tokens"),
    ({"temperature": 3}, "invalid_parameter", "temperature"),
]


@pytest.mark.parametrize(("fields", "code", "param"), REFUSED)
async def test_what_is_refused_is_named(
    site: FakeEngine, fields: dict[str, Any], code: str, param: str
) -> None:
    error = error_of(await respond(**fields), 400)
    assert (error["code"], error["param"]) == (code, param)
    assert site.requests == []
    assert await in_database(Message.objects.count) == 0
