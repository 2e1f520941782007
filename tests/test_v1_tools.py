"""Forms of answers and tools over /v1/, with a scripted engine: what it is asked, what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat.v1.tool_prompt import HERMES, LLAMA, MISTRAL, Syntax, syntax_of
from chat.v1.tools import Tool, call_constraint
from inference.types import Constraint
from tests.fake_engine import FakeEngine, prompt_text
from tests.tool_texts import WROTE, pieces
from tests.v1_client import HELLO, chat, complete, error_of, frames, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Today's weather", "parameters": SCHEMA},
}
TIME = {"type": "function", "function": {"name": "get_time"}}
PARIS = '{"city": "Paris"}'


# The form of an answer.

FORMS: list[tuple[dict[str, Any], Constraint | None]] = [
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": {"type": "json_object"}}, Constraint("json_object")),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True,
      "schema": SCHEMA}}}, Constraint.of_schema(SCHEMA)),
    ({"structured_outputs": {"json": SCHEMA}}, Constraint.of_schema(SCHEMA)),
    ({"structured_outputs": {"json": json.dumps(SCHEMA), "regex": None}},
     Constraint("json_schema", json.dumps(SCHEMA))),
    ({"structured_outputs": {"json_object": True}}, Constraint("json_object")),
    ({"structured_outputs": {"regex": "a+"}}, Constraint("regex", "a+")),
    ({"structured_outputs": {"choice": ["a", "日"]}}, Constraint("choice", '["a", "日"]')),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, Constraint("grammar", 'start: "a"')),
    ({"guided_json": SCHEMA}, Constraint.of_schema(SCHEMA)),
    ({"guided_regex": "a+"}, Constraint("regex", "a+")),
    ({"guided_choice": ["a"]}, Constraint("choice", '["a"]')),
    ({"guided_grammar": 'start: "a"'}, Constraint("grammar", 'start: "a"')),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "wanted"), FORMS, ids=lambda value: str(value)[:40])
async def test_a_form_reaches_the_engine(
    site: FakeEngine, fields: dict[str, Any], wanted: Constraint | None
) -> None:
    assert (await chat(**fields)).status_code == 200
    if "response_format" not in fields:
        assert (await complete(**fields)).status_code == 200
    assert [asked.sampling.constraint for asked in site.requests] == [wanted] * len(site.requests)


async def test_a_form_of_a_response(site: FakeEngine) -> None:
    form = {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}
    body = {"model": "chat", "input": "Hello", "text": {"format": form}}
    answer = (await post("responses", body)).json()
    assert answer["text"] == {"format": form}
    assert site.requests[0].sampling.constraint == Constraint.of_schema(SCHEMA)
    wordy = {**body, "text": {"verbosity": "high"}}
    assert error_of(await post("responses", wordy), 400)["param"] == "text.verbosity"


# What a model reads.


async def test_a_template_without_tools_is_told_of_them_in_words(site: FakeEngine) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    said = [
        {"role": "system", "content": "Be kind."},
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "night"}]},
    ]
    assert (await chat(messages=said, tools=[WEATHER, TIME])).status_code == 200
    prompt = prompt_text(site.requests[0])
    assert prompt.startswith("system\nBe kind.\n\n# Tools\n")
    assert '"name": "get_weather", "description": "Today\'s weather"' in prompt
    written = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
    assert f"assistant\n{written}\n{written}\n" in prompt
    results = (
        "<tool_response>\nnoon\n</tool_response>",
        "<tool_response>\nnight\n</tool_response>",
    )
    assert prompt.endswith(f"user\n{results[0]}\n{results[1]}\nassistant\n")
    assert site.requests[0].sampling.constraint is None
    await chat(messages=said, tools=[WEATHER], tool_choice="none")
    assert "# Tools" not in prompt_text(site.requests[1])
    told = (await post("/apply-template", {"model": "chat", "messages": said})).json()["prompt"]
    assert written in told


async def test_a_template_with_tools_gets_them(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, got = site.codecs["chat"], dict[str, Any]()

    def render(messages: Any, *, add_generation_prompt: bool, tools: Any = None) -> str:
        got.update(messages=messages, tools=tools)
        return "so it is: "

    monkeypatch.setattr(codec, "render", render)
    monkeypatch.setattr(type(codec), "tools_template", "{{ tools }} [TOOL_CALLS]")
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": PARIS}}
    said = [*HELLO, {"role": "assistant", "tool_calls": [call]}]
    await chat(messages=said, tools=[WEATHER], tool_choice="required")
    assert prompt_text(site.requests[0]) == "so it is: [TOOL_CALLS]["
    assert got["tools"] == [WEATHER]
    (called,) = got["messages"][1]["tool_calls"]
    assert called["function"]["arguments"] == {"city": "Paris"}


@pytest.mark.parametrize(
    ("template", "syntax"),
    [
        ("", HERMES),
        ("{%- if tools %}<tools> … <tool_call>", HERMES),
        ("[AVAILABLE_TOOLS] … [TOOL_CALLS]", MISTRAL),
        ('{"name": function name, "parameters": dictionary}', LLAMA),
    ],
)
def test_a_family_is_known_by_its_template(template: str, syntax: Syntax) -> None:
    assert syntax_of(template) == syntax


# A call that is insisted on.


async def test_an_insisted_call_is_a_form_and_is_read_as_a_call(site: FakeEngine) -> None:
    site.script = lambda request: [
        '{"na',
        'me":"get_wea',
        'ther","arguments":{"city":',
        '"Pa}ris"}',
        "}",
    ]
    named = {"type": "function", "function": {"name": "get_weather"}}
    body: dict[str, Any] = {"tools": [WEATHER, TIME], "tool_choice": named}
    whole = (await chat(**body)).json()["choices"][0]
    assert (whole["finish_reason"], whole["message"]["content"]) == ("tool_calls", None)
    (call,) = whole["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Pa}ris"}'}
    assert prompt_text(site.requests[0]).endswith("assistant\n<tool_call>\n")

    told = [json.loads(each) for each in (await frames(await chat(**body, stream=True)))[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    assert deltas[0] == {"role": "assistant", "content": ""}
    (begun, *rest) = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert (begun["index"], begun["type"], begun["function"]["name"]) == (
        0,
        "function",
        "get_weather",
    )
    assert len(rest) > 1
    assert "".join(each["function"]["arguments"] for each in rest) == '{"city":"Pa}ris"}'
    assert [chunk["choices"][0]["finish_reason"] for chunk in told][-1] == "tool_calls"

    cut = (await chat(**body, max_tokens=50)).json()["choices"][0]
    assert cut["finish_reason"] == "length"
    assert '{"city":"Pa}ris"}'.startswith(cut["message"]["tool_calls"][0]["function"]["arguments"])


def test_the_form_of_a_call_holds_the_tools_own_references() -> None:
    own = {
        "$schema": "x", "$defs": {"A": {"const": {"$ref": "#/no"}}},
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"anyOf": [{"$ref": "#"}]}},
    }  # fmt: skip
    constraint = call_constraint([Tool("one", "", own), Tool("two", "", {})], "parameters")
    schema = json.loads(constraint.text)
    assert [each["properties"]["name"] for each in schema["anyOf"]] == [
        {"const": "one"}, {"const": "two"},
    ]  # fmt: skip
    assert schema["anyOf"][0]["required"] == ["name", "parameters"]
    moved = schema["$defs"]["one"]
    assert moved["properties"]["a"] == {"$ref": "#/$defs/one/$defs/A"}
    assert moved["properties"]["b"] == {"anyOf": [{"$ref": "#/$defs/one"}]}
    assert moved["$defs"]["A"] == {"const": {"$ref": "#/no"}}
    assert "$schema" not in moved


async def test_calls_that_the_model_chose_are_streamed(site: FakeEngine) -> None:
    text = WROTE["qwen, with words and two calls"][0]
    site.script = lambda request: pieces(text, 7)
    answer = await chat(tools=[WEATHER, TIME], stream=True, n=2)
    told = [json.loads(each)["choices"][0] for each in (await frames(answer))[:-1]]
    for index in (0, 1):
        own = [choice for choice in told if choice["index"] == index]
        assert "".join(c["delta"].get("content") or "" for c in own) == "I will look."
        calls = [c["delta"]["tool_calls"][0] for c in own if "tool_calls" in c["delta"]]
        assert [call["index"] for call in calls] == [0, 0, 1, 1]
        assert calls[1]["function"]["arguments"] == '{"city": "Pa<ris"}'
        assert own[-1]["finish_reason"] == "tool_calls"
    plain = (await chat(tools=[TIME], tool_choice="none")).json()["choices"][0]
    assert (plain["finish_reason"], plain["message"]["content"]) == ("stop", text)


async def test_an_answer_with_a_form_is_no_call(site: FakeEngine) -> None:
    site.script = lambda request: ['{"name": "get_time", "arguments": {}}']
    body: dict[str, Any] = {"tools": [TIME], "response_format": {"type": "json_object"}}
    choice = (await chat(**body)).json()["choices"][0]
    assert choice["message"]["content"] == '{"name": "get_time", "arguments": {}}'
    assert "tool_calls" not in choice["message"]
