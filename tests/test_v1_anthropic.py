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
