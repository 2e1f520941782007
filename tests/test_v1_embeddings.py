"""/v1/embeddings on the scripted engine: inputs, encodings, refusals, and what it costs."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from chat.database import in_database
from chat.models import Quota, Usage
from inference.errors import QueueFull
from inference.examination import MAX_EMBEDDED, Embedding, Examined, Question
from tests.byte_codec import START
from tests.fake_engine import FakeEngine
from tests.v1_client import error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def embed(**body: Any) -> Any:
    return await post("embeddings", {"model": "chat", "input": "Hello", **body})


async def vectors(**body: Any) -> list[Any]:
    return [each["embedding"] for each in (await embed(**body)).json()["data"]]


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("Hello", [b"Hello"]),
        (["Hello", "你"], [b"Hello", "你".encode()]),
        ([72, 105], [b"Hi"]),
        ([[72, 105], [33]], [b"Hi", b"!"]),
        (["Hi", [33]], [b"Hi", b"!"]),
    ],
    ids=["text", "texts", "tokens", "lists of tokens", "both"],
)
async def test_inputs(site: FakeEngine, given: Any, texts: list[bytes]) -> None:
    body = (await embed(input=given)).json()
    CreateEmbeddingResponse.model_validate(body, strict=True)
    assert [each["index"] for each in body["data"]] == list(range(len(texts)))
    assert site.questions == [Embedding(tuple(map(tuple, texts)))]
    count = sum(map(len, texts))
    assert body["usage"] == {"prompt_tokens": count, "total_tokens": count}


async def test_base64_holds_the_same_numbers(site: FakeEngine) -> None:
    ((plain,), (coded,)) = await vectors(), await vectors(encoding_format="base64")
    data = base64.b64decode(coded)
    assert list(struct.unpack(f"<{len(plain)}f", data)) == plain


async def test_many_texts_leave_turns_to_others(site: FakeEngine) -> None:
    count = 2 * MAX_EMBEDDED + 1
    found = await vectors(input=["x" * (1 + place % 3) for place in range(count)])
    assert len(found) == count
    assert found[0] == found[3] != found[1]
    sizes = [len(each.texts) for each in site.questions if isinstance(each, Embedding)]
    assert sizes == [MAX_EMBEDDED, MAX_EMBEDDED, 1]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input[0]"),
    ({"input": ["a", ""]}, "input[1]"),
    ({"input": []}, "input"),
    ({"input": ["x" * 5000]}, "input[0]"),
    ({"input": ["x"] * 2049}, "input"),
    ({"input": [[-1]]}, "input"),
    ({"dimensions": 1}, "dimensions"),
    ({"dimensions": 0}, "dimensions"),
    ({"encoding_format": "hex"}, "encoding_format"),
    ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=lambda value: str(value)[:30])
async def test_a_wrong_value_is_named(site: FakeEngine, fields: dict[str, Any], param: str) -> None:
    error = error_of(await embed(**fields), 400)
    assert error["param"].startswith(param)


async def test_refusals(site: FakeEngine) -> None:
    assert error_of(await embed(model="none"), 404)["code"] == "model_not_found"
    assert error_of(await embed(input="x" * 1_000_001), 413)["code"] == "input_too_long"
    assert len((await vectors(dimensions=2))[0]) == 2
    assert "warnings" in await embed(other=1)
    assert (await embed(input=[[START]])).status_code == 200


async def test_it_is_charged(site: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    await embed(input=["Hello", "Hi"])
    row = await in_database(Usage.objects.get)
    assert (row.prompt_tokens, row.output_tokens, row.reserved_tokens) == (7, 0, 0)
    await in_database(lambda: Quota.objects.create(user_id=row.user_id, tokens_per_day=10))
    answer = await embed(input="Hello")
    assert error_of(answer, 429)["code"] == "quota_exceeded"

    async def full(model: str, question: Question) -> Examined:
        raise QueueFull("16 questions are waiting.", waiting=16, limit=16)

    monkeypatch.setattr(site, "examine", full)
    assert error_of(await embed(input="Hi"), 503)["code"] == "queue_full"
    row = await in_database(Usage.objects.get)
    assert (row.prompt_tokens, row.reserved_tokens) == (7, 0)
