"""Functions on /v1/responses, with a scripted engine: what the model reads, the items and events
that come of what it writes, and the next turn."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.models import Message
from inference.types import Constraint
from tests.fake_engine import FakeEngine, prompt_text
from tests.response_client import events_of, response_to
from tests.tool_texts import WROTE, pieces
from tests.v1_client import error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "description": "Now"}
TIME = {"type": "function", "name": "get_time"}
TEXT = WROTE["qwen, with words and two calls"][0]
CALLED = [("get_weather", '{"city": "Pa<ris"}'), ("get_time", "{}")]


async def respond(said: Any = "Hello", **body: Any) -> dict[str, Any]:
    return await response_to({"model": "chat", "input": said, "tools": [WEATHER, TIME]} | body)


async def streamed(**body: Any) -> list[dict[str, Any]]:
    return await events_of({"model": "chat", "input": "Hello", "tools": [WEATHER, TIME]} | body)


def result(call: dict[str, Any], output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: v for n, v in item.items() if n not in ("id", "call_id")} for item in items]


@pytest.mark.parametrize("store", [True, False])
async def test_calls_are_items(site: FakeEngine, store: bool) -> None:
    site.script = lambda request: pieces(TEXT, 7)
    told = await respond(store=store, parallel_tool_calls=True)
    message, *calls = told["output"]
    assert message["content"][0]["text"] == "I will look."
    assert [(call["name"], call["arguments"]) for call in calls] == CALLED
    assert {call["status"] for call in calls} == {"completed"}
    assert len({call["call_id"] for call in calls}) == len({call["id"] for call in calls}) == 2
    assert told["tools"] == [{"strict": False, **WEATHER}, {"strict": False, **TIME}]
    assert (told["tool_choice"], told["parallel_tool_calls"]) == ("auto", True)
    assert "# Tools" in prompt_text(site.requests[0])
    single = await respond(store=store, parallel_tool_calls=False)
    assert [item["type"] for item in single["output"]] == ["message", "function_call"]
    plain = await respond(store=store, tool_choice="none")
    assert plain["output"][0]["content"][0]["text"] == TEXT
    assert "# Tools" not in prompt_text(site.requests[2])


@pytest.mark.parametrize("store", [True, False])
async def test_the_events_of_a_stream_say_the_same(site: FakeEngine, store: bool) -> None:
    site.script = lambda request: pieces(TEXT, 7)
    whole = await respond(store=store)
    told = await streamed(store=store)
    final = told[-1]["response"]
    assert without_ids(final["output"]) == without_ids(whole["output"])
    done = [each["item"] for each in told if each["type"] == "response.output_item.done"]
    assert done == final["output"]
    for index, item in enumerate(final["output"]):
        own = [each for each in told if each.get("output_index") == index]
        kinds = [each["type"].removeprefix("response.") for each in own]
        assert (kinds[0], kinds[-1]) == ("output_item.added", "output_item.done")
        assert own[0]["item"]["status"] == "in_progress"
        if item["type"] == "function_call":
            added = own[0]["item"]
            assert (added["name"], added["arguments"]) == (item["name"], "")
            arguments = [each for each in own if "function_call_arguments" in each["type"]]
            assert "".join(each.get("delta", "") for each in arguments) == item["arguments"]
            assert arguments[-1]["arguments"] == item["arguments"]
            assert {each["item_id"] for each in arguments} == {item["id"]}
    if store:
        got = await AsyncClient().get(f"/v1/responses/{final['id']}")
        assert got.json() == final


async def test_a_call_that_is_insisted_on(site: FakeEngine) -> None:
    site.script = lambda request: [
        '{"name":"get_wea',
        'ther","arguments":{"city":',
        '"Pa}ris"}',
        "}",
    ]
    named = {"type": "function", "name": "get_weather"}
    for store in (True, False):
        told = await respond(store=store, tool_choice=named)
        (call,) = told["output"]
        assert (call["name"], call["arguments"]) == ("get_weather", '{"city":"Pa}ris"}')
        assert told["tool_choice"] == named
        asked = site.requests[-1]
        assert prompt_text(asked).endswith("assistant\n<tool_call>\n")
        assert asked.sampling.constraint
        assert asked.sampling.constraint.kind == Constraint.of_schema(SCHEMA).kind
        events = await streamed(store=store, tool_choice="required")
        deltas = [each for each in events if each["type"].endswith("arguments.delta")]
        assert store or len(deltas) > 1  # of a turn that is kept, what came within a beat is one
        assert events[-1]["response"]["output"][0]["arguments"] == call["arguments"]
    cut = await respond(tool_choice="required", max_output_tokens=40)
    assert (cut["status"], cut["output"][0]["status"]) == ("incomplete", "incomplete")
    got = (await AsyncClient().get(f"/v1/responses/{cut['id']}")).json()
    assert got["output"] == cut["output"]


async def test_the_results_are_the_next_calls_input(site: FakeEngine) -> None:
    site.script = lambda request: [TEXT]
    first = await respond(instructions="Be kind.")
    one, two = first["output"][1:]
    site.script = lambda request: ["It is noon."]
    asked = {"previous_response_id": first["id"], "instructions": "Be kind."}
    said = [result(one, "rain"), result(two, [{"type": "input_text", "text": "noon"}])]
    second = await respond(said, **asked)
    assert second["output"][0]["content"][0]["text"] == "It is noon."
    before, after = site.requests
    # the very tokens of the turn before, and behind them what is new
    assert after.prompt_ids[: len(before.prompt_ids)] == before.prompt_ids
    results = "<tool_response>\nrain\n</tool_response>\n<tool_response>\nnoon\n</tool_response>"
    assert prompt_text(after).endswith(f"{TEXT}\nuser\n{results}\nassistant\n")
    path = f"/v1/responses/{second['id']}/input_items?order=asc"
    items = (await AsyncClient().get(path)).json()["data"]
    assert [(item["type"], item["call_id"], item["output"]) for item in items] == [
        ("function_call_output", one["call_id"], "rain"),
        ("function_call_output", two["call_id"], said[1]["output"]),
    ]
    passing = await respond(said, **asked, store=False)
    assert passing["previous_response_id"] == first["id"]
    assert site.requests[-1].prompt_ids == after.prompt_ids
    third = await respond("And then?", previous_response_id=second["id"], tools=[])
    assert "# Tools" not in prompt_text(site.requests[-1])
    assert f"user\n{results}\nassistant\nIt is noon.\nuser\nAnd then?" in prompt_text(
        site.requests[-1]
    )
    assert third["tools"] == []


async def test_what_nobody_called_is_no_result(site: FakeEngine) -> None:
    site.script = lambda request: [TEXT]
    first = await respond()
    for store in (True, False):
        said = [result({"call_id": "nobodys"}, "7")]
        asked = {"model": "chat", "input": said, "previous_response_id": first["id"]}
        error = error_of(await post("responses", {**asked, "store": store}), 400)
        assert "'nobodys'" in error["message"]
    assert len(site.requests) == 1


async def test_other_tools_are_told_of_anew(site: FakeEngine) -> None:
    first = await respond(tools=[TIME])
    await respond("More", previous_response_id=first["id"], tools=[WEATHER])
    prompt = prompt_text(site.requests[1])
    assert "get_weather" in prompt
    assert "get_time" not in prompt


@pytest.mark.parametrize("store", [True, False])
async def test_a_conversation_comes_back_with_its_calls(site: FakeEngine, store: bool) -> None:
    site.script = lambda request: [TEXT]
    first = await respond(store=store)
    back = [{"role": "user", "content": "Hello"}, *first["output"]]
    said = [*back, *(result(call, "noon") for call in first["output"][1:])]
    site.script = lambda request: ["Noon."]
    answer = await post("responses", {"model": "chat", "input": said, "store": store})
    assert "warnings" not in answer
    prompt = prompt_text(site.requests[1])
    assert 'assistant\nI will look.\n<tool_call>\n{"name": "get_weather"' in prompt
    assert prompt.count("<tool_response>\nnoon\n</tool_response>") == 2
    if store:
        texts = await in_database(lambda: list(Message.objects.values_list("role", flat=True)))
        assert texts[-4:] == ["user", "assistant", "user", "assistant"]
        path = f"/v1/responses/{answer.json()['id']}/input_items?order=asc"
        items = (await AsyncClient().get(path)).json()["data"]
        kinds = ["message", "message", *["function_call"] * 2, *["function_call_output"] * 2]
        assert [item["type"] for item in items] == kinds
