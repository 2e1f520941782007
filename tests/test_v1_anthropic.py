"""/v1/messages on the scripted engine: messages, events, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.errors import QueueFull, RequestFailed
from inference.types import Delta, Finished, Timings
from tests.fake_engine import FakeEngine, prompt_text
from tests.v1_client import HELLO, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def say(**body: Any) -> Any:
    return await post("messages", {"model": "chat", "max_tokens": 99, "messages": HELLO, **body})


async def events(answer: Any) -> list[tuple[str, dict[str, Any]]]:
    assert answer["Content-Type"] == "text/event-stream"
    text = b"".join([part async for part in answer.streaming_content]).decode()
    told = []
    for frame in text.removesuffix("\n\n").split("\n\n"):
        event, data = frame.split("\n")
        told.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in told)
    return told


def error_of(answer: Any, status: int) -> tuple[str, str]:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert (set(body), body["type"]) == ({"type", "error"}, "error")
    return body["error"]["type"], body["error"]["message"]


async def test_a_message(site: FakeEngine) -> None:
    answer = await say(system="Be kind.", temperature=0.25, top_k=3, stop_sequences=["END"])
    body = answer.json()
    assert body.pop("id").startswith("msg_")
    prompt = site.requests[0]
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "chat",
        "content": [{"type": "text", "text": "You said: Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": len(prompt.prompt_ids),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 16,
        },
    }
    assert prompt_text(prompt) == "system\nBe kind.\nuser\nHello\nassistant\n"
    params = prompt.sampling
    assert (params.temperature, params.top_k, params.stop) == (0.25, 3, ("END",))
    assert params.max_tokens == 99


async def test_the_events_of_a_stream(site: FakeEngine) -> None:
    told = await events(await say(stream=True, max_tokens=4))
    names = [name for name, _ in told]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[2:-3]) == {"content_block_delta"}
    assert told[0][1]["message"]["content"] == []
    assert "".join(data["delta"]["text"] for _, data in told[2:-3]) == "You "
    assert told[-2][1]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert told[-2][1]["usage"]["output_tokens"] == 4


async def test_turns_of_one_role_are_joined_and_an_answer_goes_on(site: FakeEngine) -> None:
    block = {"type": "text", "text": "Two", "cache_control": {"type": "ephemeral"}}
    begun = {"role": "assistant", "content": "It is"}
    await say(messages=[*HELLO, {"role": "user", "content": [block]}, begun])
    request = site.requests[0]
    assert prompt_text(request) == "user\nHello\nTwo\nassistant\nIt is"
    assert request.answer_start == len(request.prompt_ids) - len("It is")


async def test_tokens_are_counted(site: FakeEngine) -> None:
    answer = await post("messages/count_tokens", {"model": "chat", "messages": HELLO})
    await say()
    assert answer.json() == {"input_tokens": len(site.requests[0].prompt_ids)}


async def test_the_stop_sequence_is_named(site: FakeEngine) -> None:
    end = Finished("stop", 80, 1, 64, 1, Timings(), stop_string="END")
    site.script = lambda request: [Delta("Hi", (72,), (0,)), end, RequestFailed("over")]
    told = await events(await say(stream=True))
    assert told[-1][0] == "error"  # what the script says after the end, which an engine never does
    assert [name for name, _ in told].count("content_block_delta") == 1


async def test_refusals(site: FakeEngine) -> None:
    assert error_of(await say(model="none"), 404)[0] == "not_found_error"
    kind, words = error_of(await say(tools=[{"name": "x"}]), 400)
    assert (kind, "tools" in words) == ("invalid_request_error", True)
    image = {"type": "image", "source": {}}
    wrongs: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": [image]}]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": []},
        {"max_tokens": None},
        {"max_tokens": -1},
        {"system": 7},
        {"stop_sequences": "x"},
    ]
    for wrong in wrongs:
        assert error_of(await say(**wrong), 400)[0] == "invalid_request_error", wrong
    assert error_of(await post("messages", b"{"), 400)[0] == "invalid_request_error"
    long = [{"role": "user", "content": "x" * 1_000_001}]
    assert error_of(await say(messages=long), 413)[0] == "request_too_large"
    answer = await say(container=None, service_tier="auto")
    assert answer["warnings"] == "unknown fields ignored: service_tier"
    site.script = lambda request: [QueueFull("Full.", waiting=9, limit=9, retry_after_s=7)]
    answer = await say(stream=True)
    assert (error_of(answer, 503)[0], answer["Retry-After"]) == ("overloaded_error", "7")


async def test_a_failure_in_the_midst_is_an_event(site: FakeEngine) -> None:
    site.script = lambda request: ["Some ", RequestFailed("Numbers.", request_id="r")]
    name, data = (await events(await say(stream=True)))[-1]
    assert (name, data["error"]["type"]) == ("error", "api_error")


WEATHER = {
    "name": "get_weather",
    "description": "Today's weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLED = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}}


async def test_what_tools_said_before_is_read(site: FakeEngine) -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "rain", "is_error": True}
    parts = [result, {"type": "text", "text": "Well?"}]
    said = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, CALLED]},
        {"role": "user", "content": parts},
    ]
    answer = await say(messages=said, tools=[WEATHER])
    assert answer.status_code == 200, answer.content
    prompt = prompt_text(site.requests[0])
    assert '"name": "get_weather", "description": "Today\'s weather"' in prompt
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    results = "<tool_response>\nError: rain\n</tool_response>"
    assert prompt.endswith(
        f"user\nHello\nassistant\nI look.\n{call}\nuser\n{results}\nuser\nWell?\nassistant\n"
    )


async def test_a_call_is_a_block(site: FakeEngine) -> None:
    site.script = lambda request: [
        "Let me see.",
        "\n<tool_call>\n" + json.dumps({"name": "get_weather", "arguments": {"city": "Rome"}}),
        "\n</tool_call>",
    ]
    body = (await say(tools=[WEATHER])).json()
    text, call = body["content"]
    assert text == {"type": "text", "text": "Let me see."}
    assert (call["type"], call["name"], call["input"]) == ("tool_use", *list(CALLED.values())[2:])
    assert body["stop_reason"] == "tool_use"
    told = await events(await say(tools=[WEATHER], stream=True))
    started = [data for name, data in told if name == "content_block_start"]
    assert [data["index"] for data in started] == [0, 1]
    assert started[1]["content_block"]["name"] == "get_weather"
    deltas = [data["delta"] for name, data in told if name == "content_block_delta"]
    assert json.loads("".join(each.get("partial_json", "") for each in deltas)) == {"city": "Rome"}
    assert [name for name, _ in told].count("content_block_stop") == 2
    assert told[-2][1]["delta"]["stop_reason"] == "tool_use"


async def test_a_call_that_is_insisted_on(site: FakeEngine) -> None:
    site.script = lambda request: ['{"name":"get_weather",', '"arguments":{"city":"Rome"}}']
    body = (await say(tools=[WEATHER], tool_choice={"type": "any"})).json()
    (call,) = body["content"]
    assert (call["input"], body["stop_reason"]) == ({"city": "Rome"}, "tool_use")
    constraint = site.requests[0].sampling.constraint
    assert constraint is not None
    assert "get_weather" in constraint.text


WRONG_TOOLS: list[dict[str, Any]] = [
    {"tool_choice": {"type": "any"}},
    {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}},
    {"tools": [WEATHER], "tool_choice": {"type": "perhaps"}},
    {"tools": [{**WEATHER, "type": "web_search_20250305"}]},
    {"messages": [{"role": "user", "content": [CALLED]}]},
    {"messages": [{"role": "assistant", "content": [{"type": "tool_result"}]}]},
    {"messages": [*HELLO, {"role": "assistant", "content": [{**CALLED, "input": [1]}]}]},
    {"messages": [*HELLO, {"role": "assistant", "content": "It"}], "tools": [WEATHER],
     "tool_choice": {"type": "any"}},
]  # fmt: skip


@pytest.mark.parametrize("fields", WRONG_TOOLS, ids=range(len(WRONG_TOOLS)))
async def test_tools_that_cannot_be_used(site: FakeEngine, fields: dict[str, Any]) -> None:
    assert error_of(await say(**fields), 400)[0] == "invalid_request_error"
    assert site.requests == []
