"""Log probabilities in the API, in the shapes of OpenAI and vLLM, on the scripted engine."""

from __future__ import annotations

import json
from typing import Any

import openai.types as known
import pytest
from django.test import AsyncClient
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from chat.database import in_database
from chat.models import Usage
from chat.v1.logprobs import LOWEST, of_completion, offsets_of
from inference.examination import Scoring
from inference.types import ModelKind, TokenLogprobs
from tests.byte_codec import ByteCodec
from tests.fake_engine import END, LIKELY, UNLIKELY, FakeEngine
from tests.tool_texts import WROTE, pieces
from tests.v1_client import chat, complete, error_of, frames, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

CODEC = ByteCodec(ModelKind.COMPLETION)


def letters(entries: list[dict[str, Any]]) -> str:
    return "".join(entry["token"] for entry in entries)


async def test_a_chats(site: FakeEngine) -> None:
    answer = await chat(logprobs=True, top_logprobs=2)
    body = answer.json()
    ChatCompletion.model_validate(body, strict=True)
    told = body["choices"][0]["logprobs"]
    assert told["refusal"] is None
    # the mark that ended it is one of its tokens
    assert letters(told["content"]) == "You said: Hello<|im_end|>"
    assert len(told["content"]) == body["usage"]["completion_tokens"]
    other = {"token": "Z", "logprob": UNLIKELY, "bytes": [90]}
    own = {"token": "Y", "logprob": LIKELY, "bytes": [89]}
    assert told["content"][0] == {**own, "top_logprobs": [own, other]}
    bare = (await chat(logprobs=True)).json()["choices"][0]["logprobs"]["content"]
    assert [each["top_logprobs"] for each in bare] == [[]] * 16
    assert [request.logprobs for request in site.requests] == [2, 0]


async def test_a_streams_are_those_of_the_whole(site: FakeEngine) -> None:
    whole = (await chat(logprobs=True, top_logprobs=1)).json()["choices"][0]["logprobs"]
    stream = await frames(await chat(logprobs=True, top_logprobs=1, stream=True))
    chunks = [json.loads(frame) for frame in stream[:-1]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    pieces = [chunk["choices"][0] for chunk in chunks]
    told = [piece["logprobs"]["content"] for piece in pieces if piece["logprobs"]]
    assert [entry for part in told for entry in part] == whole["content"]
    assert (pieces[0]["logprobs"], pieces[-1]["logprobs"]) == (None, None)


async def test_a_stream_with_tools_tells_of_every_token_too(site: FakeEngine) -> None:
    text = WROTE["qwen, with words and two calls"][0]
    site.script = lambda request: pieces(text, 7)
    tools = [{"type": "function", "function": {"name": f"get_{it}"}} for it in ("weather", "time")]
    asked: Any = {"logprobs": True, "top_logprobs": 1, "tools": tools}
    whole = (await chat(**asked)).json()["choices"][0]
    assert letters(whole["logprobs"]["content"]) == f"{text}<|im_end|>"
    stream = await frames(await chat(**asked, stream=True, n=2))
    choices = [json.loads(frame)["choices"][0] for frame in stream[:-1]]
    for index in (0, 1):
        own = [each for each in choices if each["index"] == index]
        told = [each["logprobs"]["content"] for each in own if each["logprobs"]]
        assert [entry for part in told for entry in part] == whole["logprobs"]["content"]
        assert [each["finish_reason"] for each in own][-1] == "tool_calls"


async def test_half_a_character_is_told_in_bytes(site: FakeEngine) -> None:
    site.script = lambda request: ["é"]
    body = (await chat(logprobs=True)).json()
    told = body["choices"][0]["logprobs"]["content"]
    assert [(each["token"], each["bytes"]) for each in told[:2]] == [
        ("\\xc3", [0xC3]),
        ("\\xa9", [0xA9]),
    ]
    assert bytes(byte for each in told[:2] for byte in each["bytes"]).decode() == "é"
    body = (await complete(logprobs=0)).json()
    assert body["choices"][0]["logprobs"]["tokens"] == ["bytes:\\xc3", "bytes:\\xa9", "<|im_end|>"]


async def test_a_completions(site: FakeEngine) -> None:
    site.script = lambda request: "You"
    body = (await complete(logprobs=2, max_tokens=3)).json()
    known.Completion.model_validate(body, strict=True)
    told = body["choices"][0]["logprobs"]
    assert told["tokens"] == list("You")
    assert told["token_logprobs"] == [LIKELY] * 3
    assert told["top_logprobs"][0] == {"Y": LIKELY, "Z": UNLIKELY}
    assert told["text_offset"] == [0, 1, 2]
    only = (await complete(logprobs=0, max_tokens=3)).json()["choices"][0]["logprobs"]
    assert only["top_logprobs"] == [{"Y": LIKELY}, {"o": LIKELY}, {"u": LIKELY}]
    assert site.questions == []


@pytest.mark.parametrize("limit", [0, 3])
async def test_an_echos(site: FakeEngine, limit: int) -> None:
    """Of each prompt once, however many answers there are to it."""
    site.script = lambda request: "You"
    prompts = ["Once", "é"]
    asked = {"prompt": prompts, "n": 2, "echo": True, "logprobs": 1, "max_tokens": limit}
    body = (await complete(**asked)).json()
    # Both prompts are asked about side by side, in whatever order.
    scored = [question for question in site.questions if isinstance(question, Scoring)]
    assert sorted(scored, key=lambda question: question.ids) == [
        Scoring(tuple(b"Once"), 1),
        Scoring(tuple("é".encode()), 1),
    ]
    text = "You"[:limit]
    assert [each["text"] for each in body["choices"]] == [
        "Once" + text, "Once" + text, "é" + text, "é" + text,
    ]  # fmt: skip
    assert {each["finish_reason"] for each in body["choices"]} == {"length"}
    first, third = (body["choices"][index]["logprobs"] for index in (1, 2))
    assert first["tokens"] == [*"Once", *text]
    assert first["token_logprobs"] == [None, *[LIKELY] * (3 + limit)]
    assert first["top_logprobs"][:2] == [None, {"n": LIKELY}]
    assert first["text_offset"] == list(range(4 + limit))
    assert third["text_offset"] == [0, 0, *range(1, 1 + limit)]
    assert body["usage"]["prompt_tokens"] == 6
    assert body["usage"]["completion_tokens"] == 4 * limit
    row = await in_database(Usage.objects.get)
    assert (row.prompt_tokens, row.output_tokens) == (12, 4 * limit)


async def test_an_echo_in_a_stream(site: FakeEngine) -> None:
    asked: Any = {"echo": True, "logprobs": 1, "max_tokens": 3}
    whole = (await complete(**asked)).json()["choices"][0]
    stream = await frames(await complete(**asked, stream=True))
    choices = [json.loads(frame)["choices"][0] for frame in stream[:-1]]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    for name in whole["logprobs"]:
        parts = [choice["logprobs"][name] for choice in choices if choice["logprobs"]]
        assert [each for part in parts for each in part] == whole["logprobs"][name]


async def test_prompt_logprobs_are_vllms(site: FakeEngine) -> None:
    body = (await complete(prompt=[79, 110], prompt_logprobs=2, max_tokens=1)).json()
    first, second = body["choices"][0]["prompt_logprobs"]
    assert first is None
    assert second == {
        "110": {"logprob": LIKELY, "rank": 1, "decoded_token": "n"},
        "111": {"logprob": UNLIKELY, "rank": 2, "decoded_token": "o"},
    }
    assert body["choices"][0]["logprobs"] is None
    body = (await chat(prompt_logprobs=0)).json()
    assert len(body["prompt_logprobs"]) == body["usage"]["prompt_tokens"]
    assert body["prompt_logprobs"][1] == {
        str(site.requests[1].prompt_ids[1]): {"logprob": LIKELY, "rank": 1, "decoded_token": "u"}
    }


@pytest.mark.parametrize("store", [True, False])
async def test_a_responses(site: FakeEngine, store: bool) -> None:
    told_of = ["message.output_text.logprobs"]
    asked: dict[str, Any] = {"model": "chat", "input": "Hello", "include": told_of, "store": store}
    body = (await post("responses", asked)).json()
    assert letters(body["output"][0]["content"][0]["logprobs"]) == "You said: Hello<|im_end|>"
    assert body["top_logprobs"] == 0
    if store:  # told once
        again = (await AsyncClient().get(f"/v1/responses/{body['id']}")).json()
        assert again["output"][0]["content"][0] == {
            **body["output"][0]["content"][0],
            "logprobs": [],
        }
    answer = await post("responses", {**asked, "top_logprobs": 2, "stream": True})
    text = b"".join([part async for part in answer.streaming_content]).decode()
    told = [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n")[:-1]]
    deltas = [each for each in told if each["type"] == "response.output_text.delta"]
    entries = [entry for each in deltas for entry in each["logprobs"]]
    assert [len(entry["top_logprobs"]) for entry in entries] == [2] * 16
    assert next(each for each in told if "text.done" in each["type"])["logprobs"] == entries
    refused = await post("responses", {**asked, "include": ["reasoning.encrypted_content"]})
    assert error_of(refused, 400)["param"] == "include"


async def test_filters_are_not_walked_around(site: FakeEngine, settings: Any) -> None:
    from chat import filtering

    settings.TINYLLM_FILTERS = ["personal"]
    filtering.filters.cache_clear()
    try:
        assert error_of(await chat(logprobs=True), 400)["param"] == "logprobs"
        assert error_of(await complete(logprobs=1), 400)["param"] == "logprobs"
        assert error_of(await complete(prompt_logprobs=1), 400)["param"] == "prompt_logprobs"
        assert (await chat()).status_code == 200
    finally:
        filtering.filters.cache_clear()


async def test_limits_are_named(site: FakeEngine) -> None:
    assert error_of(await complete(logprobs=21), 400)["param"] == "logprobs"
    assert "20" in error_of(await complete(logprobs=21), 400)["message"]
    assert error_of(await complete(logprobs=-1), 400)["param"] == "logprobs"
    assert error_of(await complete(max_tokens=-1), 400)["param"] == "max_tokens"
    body = (await complete(max_tokens=0)).json()
    assert (body["choices"][0]["text"], body["usage"]["completion_tokens"]) == ("", 0)


def test_offsets_of_what_does_not_stand_in_the_text() -> None:
    """A mark that was put before it has no room, and a space that a vocabulary adds neither."""
    ids = [END, *b" Once", 0xE4, 0xBD, 0xA0, *b"!"]
    assert offsets_of(CODEC, ids, "Once你!") == [0, 0, 0, 1, 2, 3, 4, 4, 4, 5]


def test_what_cannot_come_is_a_number_too() -> None:
    told = of_completion(CODEC, [TokenLogprobs(65, float("-inf"), 9, ((66, -0.5),))], [0])
    assert told["token_logprobs"] == [LOWEST]
    assert told["top_logprobs"] == [{"B": -0.5, "A": LOWEST}]
    json.dumps(told, allow_nan=False)
