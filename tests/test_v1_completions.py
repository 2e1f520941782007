"""/v1/chat/completions and /v1/completions on the scripted engine: fields and frames."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.test import AsyncClient

from chat import engine
from chat.database import in_database
from chat.generation import turns
from chat.models import Message, Session
from chat.v1 import running
from inference.errors import QueueFull, RequestFailed
from inference.types import GenerateRequest, PromptProgress, Queued
from tests.fake_engine import FakeEngine, prompt_text
from tests.v1_client import HELLO, arrived, chat, complete, error_of, frames, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


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
    # The others begin side by side: which of the two reaches the engine first is not said.
    first, *others = (request.request_id for request in site.requests)
    assert sorted(others) == [f"{first}-1", f"{first}-2"]


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


@pytest.mark.parametrize("silent", [True, False])
async def test_who_waits_is_pinged(site: FakeEngine, monkeypatch: Any, silent: bool) -> None:
    """Also while the engine says how far it has read."""
    monkeypatch.setattr(running, "PING_S", 0.01)
    gate = asyncio.Event()

    def script(request: GenerateRequest) -> Any:
        yield Queued(1)
        if silent:
            yield gate
        while not gate.is_set():
            yield PromptProgress(1, 2)
        yield "Done"

    site.script = script
    answer = await chat(stream=True)
    told = []
    async for part in answer.streaming_content:
        told.append(part)
        if told.count(b": ping\n\n") == 2:
            gate.set()
    assert told[:2] == [b": ping\n\n", b": ping\n\n"]
    assert told[-1] == b"data: [DONE]\n\n"


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
    first, second = sorted(request.request_id for request in site.requests)
    assert first == "trace-7"
    assert second.startswith("trace-7.")


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


async def test_the_end_of_the_server_waits_for_answers(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["Hello ", gate, "world"]
    asking = asyncio.create_task(chat())
    await arrived(site, 1)
    await running.settled(2 * running.SETTLE_POLL_S)
    assert not asking.done()
    ending = asyncio.create_task(running.settled(60))
    await turns().drain(grace_s=0)
    refused = await chat()
    assert (error_of(refused, 503)["code"], refused["Retry-After"]) == ("shutting_down", "10")
    gate.set()
    await ending
    assert (await asking).json()["choices"][0]["message"]["content"] == "Hello world"
    turns.cache_clear()
