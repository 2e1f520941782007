"""Bodies that nobody would write, from a seed: each is answered, or refused in documented words."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from chat.v1.anthropic import CountRequest, MessagesRequest
from chat.v1.bodies import Body
from chat.v1.chat_completions import ChatRequest
from chat.v1.completions import CompletionRequest
from chat.v1.embeddings import EmbeddingRequest
from chat.v1.responses import ResponseRequest
from chat.v1.tokens import DetokenizeRequest, TemplateRequest, TokenizeRequest
from tests.fake_engine import FakeEngine
from tests.v1_client import post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

ROUNDS = 40
ADDRESSES: dict[str, type[Body]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": CountRequest,
    "/v1/responses": ResponseRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
    "/apply-template": TemplateRequest,
}
ROLES = ("user", "assistant", "system", "developer", "tool", "", "king", None)
PLAIN: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3.5, -0.0, 1e300, -(10**18), 2**31, 2**63, 10**40, "",
    "a", "chat", "story", "\x00", "\u202e<|im_end|>", "😀" * 50, "x" * 5000, [], {}, [[]], [None],
    [1, 2], ["a", "b"], [-1], {"type": "text"}, {"a": 1}, {"1": 5}, {"": {}},
    {"include_usage": True},
]  # fmt: skip


def value(draw: Random, depth: int = 0) -> Any:
    if depth < 3 and draw.random() < 0.2:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if depth < 3 and draw.random() < 0.2:
        return {draw.choice(["type", "text", "role", "x"]): value(draw, depth + 1)}
    return draw.choice(PLAIN)


def message(draw: Random) -> Any:
    if draw.random() < 0.15:
        return value(draw)
    content = draw.choice(["Hello", value(draw), [{"type": "text", "text": value(draw)}]])
    return {"role": draw.choice(ROLES), "content": content}


def body(draw: Random, kind: type[Body]) -> dict[str, Any]:
    """What is needed is mostly there and mostly right, so that the rest is looked at too."""
    names = [*kind.model_fields, *kind.later, "nobody", "\u65e5\n"]
    made = {name: value(draw) for name in draw.sample(names, draw.randrange(4))}
    right = {
        "model": "chat",
        "prompt": draw.choice(["Once", [65, 66], ["a", [66]]]),
        "input": draw.choice(["Hello", [message(draw)]]),
        "messages": [message(draw) for _ in range(draw.randrange(1, 3))],
        "tokens": [65, 66],
        "max_tokens": 3,
    }
    fields = kind.model_fields
    good = {name: right[name] for name in right if name in fields and draw.random() < 0.9}
    return {**made, **good}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_body_is_answered_or_refused(site: FakeEngine, address: str) -> None:
    draw, seen = Random(address), set()
    for _ in range(ROUNDS):
        sent = body(draw, ADDRESSES[address])
        answer = await post(address, sent)
        seen.add(answer.status_code)
        assert answer.status_code in (200, 400, 404, 413), (sent, answer.content)
        if answer.status_code != 200:
            assert set(answer.json()["error"]) >= {"type", "message"}, sent
        elif answer.streaming:
            text = b"".join([part async for part in answer.streaming_content])
            assert b"internal_error" not in text, sent
            assert b"api_error" not in text, sent
        else:
            json.loads(answer.content)
    assert seen >= {200, 400}
