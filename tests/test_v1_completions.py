"""/v1/chat/completions and /v1/completions on the scripted engine: fields, frames, refusals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.test import AsyncClient

from chat import engine
from chat.database import in_database
from chat.models import Message, Session
from chat.v1 import running
from inference.errors import QueueFull, RequestFailed
from inference.types import GenerateRequest, PromptProgress, Queued
from tests.fake_engine import FakeEngine, prompt_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

HELLO = [{"role": "user", "content": "Hello"}]


async def post(path: str, body: Any, **headers: str) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return await AsyncClient().post(
        f"/v1/{path}", text, content_type="application/json", headers=headers
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


async def test_a_whole_chat_answer(site: FakeEngine) -> None:
    answer = await chat()
    body = answer.json()
    assert body["id"] == f"chatcmpl-{answer['x-request-id']}"
    assert (body["object"], body["model"]) == ("chat.completion", "chat")
    assert body["system_fingerprint"].startswith("fp_")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "You said: Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    prompt = len(site.requests[0].prompt_ids)
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 16,
        "total_tokens": prompt + 16,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert (body["timings"]["prompt_n"], body["timings"]["predicted_n"]) == (prompt, 16)
    assert body["timings"]["predicted_per_second"] == pytest.approx(16 / 0.003, rel=1e-3)
    assert "warnings" not in answer


async def test_nothing_is_kept(site: FakeEngine) -> None:
    await chat()
    await frames(await chat(stream=True))
    assert await in_database(Session.objects.count) == 0
    assert await in_database(Message.objects.count) == 0
    assert [request.session for request in site.requests] == [None, None]


async def test_the_models_template_and_defaults_are_used(site: FakeEngine) -> None:
    parts = [{"type": "text", "text": "Two"}, {"type": "text", "text": "lines"}]
    await chat(
        messages=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}]
    )
    assert prompt_text(site.requests[0]) == "system\nBe kind.\nuser\nTwo\nlines\nassistant\n"
    assert site.requests[0].sampling.temperature == 0.5


async def test_every_sampling_field_reaches_the_engine(site: FakeEngine) -> None:
    given = {
        "temperature": 0.25, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.5,
        "presence_penalty": 1, "frequency_penalty": -1, "seed": 11, "ignore_eos": True,
        "prompt_lookup": 3,
    }  # fmt: skip
    more = {"logit_bias": {"65": -100}, "stop": "END", "stop_token_ids": [3], "priority": 5}
    answer = await chat(**given, **more, max_tokens=9, max_completion_tokens=8, user="someone")
    assert (answer.status_code, "warnings" in answer) == (200, False)
    request = site.requests[0]
    for name, value in given.items():
        assert getattr(request.sampling, name) == value
    assert request.sampling.logit_bias == {65: -100}
    assert (request.sampling.stop, request.sampling.stop_token_ids) == (("END",), (3,))
    assert (request.sampling.max_tokens, request.priority) == (8, 5)
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    await chat(top_k=-1, stop=["a", "b", "c", "d"], stream_options=None, n=None)
    assert site.requests[1].sampling.top_k == 0


async def test_a_stream(site: FakeEngine) -> None:
    answer = await chat(stream=True, stream_options={"include_usage": True})
    *told, done = await frames(answer)
    assert done == "[DONE]"
    chunks = [json.loads(frame) for frame in told]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    *answering, numbers = chunks
    choices = [chunk["choices"][0] for chunk in answering]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert (choices[-1]["delta"], choices[-1]["finish_reason"]) == ({}, "stop")
    assert "".join(c["delta"]["content"] for c in choices[:-1]) == "You said: Hello"
    assert {choice["finish_reason"] for choice in choices[:-1]} == {None}
    assert {chunk["usage"] for chunk in answering} == {None}
    assert answering[-1]["timings"]["predicted_n"] == 16
    assert numbers["choices"] == []
    assert numbers["usage"]["completion_tokens"] == 16


async def test_a_stream_without_usage_says_none(site: FakeEngine) -> None:
    *told, done = await frames(await chat(stream=True))
    assert done == "[DONE]"
    assert all("usage" not in json.loads(frame) for frame in told)


async def test_several_answers_begin_when_the_prompt_is_read(site: FakeEngine) -> None:
    read = asyncio.Event()

    def script(request: GenerateRequest) -> Any:
        yield read
        yield f"seed {request.sampling.seed}"

    site.script = script
    asking = asyncio.create_task(chat(n=3, seed=2**63 - 1))
    await arrived(site, 1)
    assert len(site.requests) == 1
    read.set()
    body = (await asking).json()
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert texts == [f"seed {2**63 - 1}", "seed 0", "seed 1"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["prompt_tokens"] == len(site.requests[0].prompt_ids)
    ids = [request.request_id for request in site.requests]
    assert ids == [ids[0], f"{ids[0]}-1", f"{ids[0]}-2"]


async def test_completions_of_several_prompts(site: FakeEngine) -> None:
    body = (await complete(prompt=["A", [66, 67]], n=2, echo=True)).json()
    assert (body["object"], body["id"][:5]) == ("text_completion", "cmpl-")
    assert [choice["text"] for choice in body["choices"]] == [
        "AYou said: A", "AYou said: A", "BCYou said: BC", "BCYou said: BC",
    ]  # fmt: skip
    assert body["usage"]["prompt_tokens"] == 3


async def test_a_completion_streams_and_has_a_short_default(site: FakeEngine) -> None:
    answer = await complete(prompt=[65, 66], stream=True, echo=True, max_tokens=None)
    *told, done = await frames(answer)
    choices = [json.loads(frame)["choices"][0] for frame in told]
    assert (done, choices[0]["text"]) == ("[DONE]", "AB")
    assert site.requests[0].prompt_ids == (65, 66)
    assert site.requests[0].sampling.max_tokens == 16


async def test_who_is_silent_is_pinged(site: FakeEngine, monkeypatch: Any) -> None:
    monkeypatch.setattr(running, "PING_S", 0.01)
    gate = asyncio.Event()
    site.script = lambda request: [Queued(1), PromptProgress(1, 2), gate, "Done"]
    answer = await chat(stream=True)
    told = []
    async for part in answer.streaming_content:
        told.append(part)
        if told.count(b": ping\n\n") == 2:
            gate.set()
    assert told[-1] == b"data: [DONE]\n\n"
    assert not any(b'content": ""' in part for part in told[:2])


async def test_what_is_refused_at_once_is_an_error_of_the_reply(site: FakeEngine) -> None:
    site.script = lambda request: [QueueFull("Full.", waiting=9, limit=9, retry_after_s=7)]
    for stream in (False, True):
        answer = await chat(stream=stream)
        error = error_of(answer, 503)
        assert (error["type"], error["code"]) == ("server_error", "queue_full")
        assert answer["Retry-After"] == "7"


async def test_what_fails_in_the_midst_is_told_and_ends_the_stream(site: FakeEngine) -> None:
    site.script = lambda request: ["Some ", RequestFailed("Numbers.", request_id="r")]
    *told, last = await frames(await chat(stream=True))
    assert json.loads(told[-1])["choices"][0]["delta"] == {"content": "Some "}
    error = json.loads(last)["error"]
    assert (error["type"], error["code"]) == ("server_error", "request_failed")
    assert error_of(await chat(), 500)["code"] == "request_failed"


async def read_on(answer: Any, reading: asyncio.Event) -> None:
    async for _part in answer.streaming_content:
        reading.set()


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_has_all_answers_cancelled(site: FakeEngine, stream: bool) -> None:
    def endless(request: GenerateRequest) -> Any:
        while True:
            yield "more "

    site.script = endless
    answering = asyncio.create_task(chat(n=2, stream=stream, max_tokens=None))
    if stream:
        reading = asyncio.Event()
        answering = asyncio.create_task(read_on(await answering, reading))
        await reading.wait()
    await arrived(site, 2)
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert sorted(site.cancelled) == sorted(request.request_id for request in site.requests)


async def test_the_callers_request_id_goes_to_the_engine_and_back(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: [gate, "Hi"]
    body = {"model": "chat", "messages": HELLO}
    both = [
        asyncio.create_task(post("chat/completions", body, **{"x-request-id": "trace-7"}))
        for _ in range(2)
    ]
    await arrived(site, 2)
    gate.set()
    assert [(await one)["x-request-id"] for one in both] == ["trace-7", "trace-7"]
    first, second = (request.request_id for request in site.requests)
    assert first == "trace-7"
    assert second.startswith("trace-7.")


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
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"min_tokens": 3}, "min_tokens"),
    ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
    ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
    ({"prompt_logprobs": 1}, "prompt_logprobs"),
    ({"echo": True}, "echo"),
    ({"messages": [{**HELLO[0], "tool_calls": [1]}]}, "messages[0].tool_calls"),
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


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"temperature": -1}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
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
    ({"model": None}, "model"),
]


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
    answer = await chat(messages=[*HELLO, {"role": "tool", "content": "42"}])
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


async def test_models(site: FakeEngine) -> None:
    client = AsyncClient()
    body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["chat", "story"]
    assert {model["object"] for model in body["data"]} == {"model"}
    one = (await client.get("/v1/models/chat")).json()
    assert (one["id"], one["max_model_len"]) == ("chat", 4096)
    for name in ("none", "absent", "a/b"):
        assert error_of(await client.get(f"/v1/models/{name}"), 404)["code"] == "model_not_found"


async def test_who_is_not_signed_in_gets_nothing(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False
    assert error_of(await chat(), 401)["type"] == "authentication_error"
    assert error_of(await AsyncClient().get("/v1/models"), 401)["code"] == "not_signed_in"


async def test_filters_hold_here_too(site: FakeEngine, settings: Any, monkeypatch: Any) -> None:
    from chat import filtering

    settings.TINYLLM_FILTERS = ["personal"]
    filtering.filters.cache_clear()
    try:
        await chat(messages=[{"role": "user", "content": "Write to ada@example.com"}])
        assert "ada@example.com" not in prompt_text(site.requests[0])
        ids = list(b"Write to ada@example.com")
        await complete(prompt=ids)
        assert "ada@example.com" not in prompt_text(site.requests[1])
    finally:
        settings.TINYLLM_FILTERS = []
        filtering.filters.cache_clear()


async def test_without_an_engine(site: FakeEngine) -> None:
    engine.install(None)
    answer = await chat()
    assert error_of(answer, 503)["code"] == "engine_stopped"
    assert answer["Retry-After"] == "5"
