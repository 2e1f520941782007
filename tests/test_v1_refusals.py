"""What /v1/ refuses, and in which words: fields, values, bodies and addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient

from tests.fake_engine import FakeEngine
from tests.v1_client import HELLO, chat, complete, error_of, frames, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def test_unknown_fields_are_ignored_and_named(site: FakeEngine) -> None:
    message = {**HELLO[0], "mood": 1, "tool_calls": None}
    answer = await chat(
        messages=[message], frobnicate=1, **{"日\r\nx": 1}, stream=True, stream_options={"x": 1}
    )
    assert answer["warnings"] == (
        r"unknown fields ignored: frobnicate, \u65e5\r\nx, stream_options.x, messages[0].mood"
    )
    await frames(answer)
    many = await chat(**{f"field{number}": 1 for number in range(50)})
    assert many["warnings"].endswith("field19 and 30 more")


LATER: list[tuple[dict[str, Any], str]] = [
    ({"min_tokens": 3}, "min_tokens"),
    ({"structured_outputs": {"structural_tag": "a"}}, "structured_outputs.structural_tag"),
    ({"functions": [{"name": "a"}]}, "functions"),
    ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"echo": True}, "echo"),
    ({"messages": [{**HELLO[0], "function_call": {}}]}, "messages[0].function_call"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), LATER, ids=[param for _, param in LATER])
async def test_a_known_field_is_obeyed_or_refused(
    site: FakeEngine, fields: dict[str, Any], param: str
) -> None:
    error = error_of(await chat(**fields), 400)
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)
    assert param in error["message"]
    assert site.requests == []


async def test_values_that_ask_for_nothing_are_taken(site: FakeEngine) -> None:
    nothing = {
        "logprobs": False, "top_logprobs": 0, "response_format": {"type": "text"}, "tools": [],
        "tool_choice": "auto", "parallel_tool_calls": True, "min_tokens": 0, "echo": False,
        "functions": None, "chat_template_kwargs": {},
    }  # fmt: skip
    answer = await chat(**nothing)
    assert (answer.status_code, "warnings" in answer) == (200, False)


TOOL = {"type": "function", "function": {"name": "a"}}
CALL = {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
BROKEN = {**CALL, "function": {"name": "a", "arguments": "[1"}}
WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"temperature": -1}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": 3}, "logprobs"),
    ({"prompt_logprobs": 21}, "prompt_logprobs"),
    ({"seed": -1}, "seed"),
    ({"seed": 10**30}, "seed"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 10**9}, "n"),
    ({"n": 1.5}, "n"),
    ({"priority": -1}, "priority"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": "x" * 1001}, "stop"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias[1]"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
    ({"messages": [{**HELLO[0], "tool_calls": [1]}]}, "messages[0].tool_calls[0]"),
    ({"messages": [{**HELLO[0], "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
    ({"messages": [{"role": "assistant", "tool_calls": [BROKEN]}]},
     "messages[0].tool_calls[0].function.arguments"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": "json_object"}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
     "response_format.json_schema.schema"),
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
    ({"structured_outputs": {"regex": 1}}, "structured_outputs.regex"),
    ({"structured_outputs": {"json": []}}, "structured_outputs.json"),
    ({"guided_choice": "a"}, "guided_choice"),
    ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "structured_outputs"),
    ({"guided_regex": "a" * 65_537}, "regex"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [TOOL, TOOL]}, "tools"),
    ({"tools": [{**TOOL, "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "b"}}},
     "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "required", "guided_regex": "a"}, "structured_outputs"),
    ({"tools": [TOOL], "model": "story"}, "tools"),
    ({"model": None}, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=lambda value: str(value)[:40])
async def test_a_wrong_value_is_named(
    site: FakeEngine, fields: dict[str, Any], param: str | None
) -> None:
    error = error_of(await chat(**fields), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert site.requests == []


async def test_content_that_is_not_text(site: FakeEngine) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = [{"type": "text", "text": "What is this?"}, image]
    error = error_of(await chat(messages=[{"role": "user", "content": parts}]), 400)
    assert (error["code"], error["param"]) == ("unsupported_content", "messages[0].content[1]")
    answer = await chat(messages=[*HELLO, {"role": "function", "content": "42"}])
    assert error_of(answer, 400)["code"] == "unsupported_content"


async def test_models_and_prompts_that_are_not_there(site: FakeEngine) -> None:
    error = error_of(await chat(model="none"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["type"] == "invalid_request_error"
    assert error_of(await chat(model="absent"), 503)["code"] == "model_unavailable"
    long = [{"role": "user", "content": "x" * 5000}]
    error = error_of(await chat(messages=long), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    error = error_of(await complete(prompt="x" * 5000), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    endless = [{"role": "user", "content": "x" * 1_000_001}]
    assert error_of(await chat(messages=endless), 413)["code"] == "input_too_long"
    assert error_of(await complete(prompt=""), 400)["param"] == "prompt"
    assert error_of(await complete(prompt=["a"] * 65, n=2), 400)["param"] == "n"
    assert error_of(await complete(prompt=[[1], [-1]]), 400)["param"].startswith("prompt")


BODIES = {
    "blank": b" ",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no UTF-8": b'{"model": "\xff"}',
    "half a surrogate": b'{"model": "\\ud800"}',
    "not a number": b'{"model": "chat", "messages": [], "temperature": NaN}',
    "deep": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep content": b'{"model": "chat", "messages": [{"role": "user", "content": '
    + b"[" * 150 + b"]" * 150 + b"}]}",
    "a huge number": b'{"n": ' + b"9" * 10_000 + b"}",
    "another field twice": b'{"model": 1, "model": 2}',
    "binary": bytes(range(256)) * 10,
}  # fmt: skip


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_strange_body_is_refused(site: FakeEngine, path: str, body: bytes) -> None:
    error = error_of(await post(path, body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "invalid_request"


async def test_a_large_body(site: FakeEngine) -> None:
    fits = json.dumps({"model": "chat", "messages": HELLO, "junk": "x" * 10_000_000})
    answer = await post("chat/completions", fits)
    assert (answer.status_code, answer["warnings"]) == (200, "unknown fields ignored: junk")
    answer = await post("chat/completions", fits + " " * 4_000_000)
    assert error_of(answer, 413)["code"] == "body_too_large"


async def test_methods_types_and_addresses(site: FakeEngine) -> None:
    client = AsyncClient()
    answer = await client.get("/v1/chat/completions")
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert answer["Allow"] == "POST"
    answer = await client.post("/v1/completions", "{}", content_type="text/plain")
    assert error_of(answer, 415)["code"] == "unsupported_media_type"
    assert error_of(await client.get("/v1/nothing"), 404)["code"] == "not_found"
    assert error_of(await client.post("/v1/models/"), 404)["code"] == "not_found"
