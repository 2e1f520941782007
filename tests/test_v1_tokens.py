"""/tokenize, /detokenize and /apply-template on the scripted engine: a token is a byte."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from tests.v1_client import HELLO, error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def told(path: str, **body: Any) -> Any:
    answer = await post(path, body)
    assert answer.status_code == 200, answer.content
    return answer.json()


async def test_text_to_tokens_and_back(site: FakeEngine) -> None:
    counted = await told("/tokenize", model="story", prompt="Hé")
    assert counted == {"count": 3, "max_model_len": 4096, "tokens": [72, 195, 169]}
    assert (await told("/tokenize", content="Hi"))["tokens"] == [72, 105]
    assert await told("/detokenize", tokens=[72, 105, 256]) == {"prompt": "Hi", "content": "Hi"}


async def test_the_chat_template(site: FakeEngine) -> None:
    prompt = (await told("/apply-template", messages=HELLO))["prompt"]
    assert prompt == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    tokens = (await told("/tokenize", messages=HELLO))["tokens"]
    assert tokens[0] == 257
    bare = await told("/apply-template", messages=HELLO, add_generation_prompt=False)
    assert prompt.startswith(bare["prompt"])
    assert not bare["prompt"].endswith("assistant\n")
    assert site.requests == []


async def test_what_is_ignored_is_named(site: FakeEngine) -> None:
    answer = await post("/detokenize", {"tokens": [], "colour": 1})
    assert answer["warnings"] == "unknown fields ignored: colour"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/tokenize", {}, "prompt"),
    ("/tokenize", {"prompt": 7}, "prompt"),
    ("/tokenize", {"messages": []}, "messages"),
    ("/detokenize", {"tokens": "Hi"}, "tokens"),
    ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
    ("/detokenize", {"tokens": [2**31]}, "tokens[0]"),
    ("/apply-template", {}, "messages"),
]


@pytest.mark.parametrize(("path", "body", "param"), WRONG)
async def test_what_is_wrong_is_named(
    site: FakeEngine, path: str, body: dict[str, Any], param: str
) -> None:
    assert error_of(await post(path, body), 400)["param"] == param
    assert error_of(await post(path, b"{"), 400)["code"] == "invalid_request"
    refused = await post(path, {"tokens": [], "messages": HELLO, "prompt": "", "model": "none"})
    assert error_of(refused, 404)["code"] == "model_not_found"
