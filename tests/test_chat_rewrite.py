"""A person changes what a model has written, and it goes on from there: a version beside the old
one, made of the old tokens as far as the text is the old one."""

from __future__ import annotations

from typing import Any

import pytest

from chat.database import in_database
from chat.models import Generation, Message
from chat.packing import unpack
from inference.types import ModelKind
from tests.byte_codec import END, ByteCodec
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


class PairCodec(ByteCodec):
    """Two bytes that are letters make one token where they stand at an even place: text that is
    encoded again in pieces has other tokens."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        ids = super().encode(text)
        pairs: list[int] = []
        while ids:
            first = ids.pop(0)
            is_pair = bool(ids) and first < 128 and ids[0] < 128
            pairs.append(1000 + first * 128 + ids.pop(0) if is_pair else first)
        return pairs

    def decode(self, ids: Any) -> str:
        single: list[int] = []
        for id in ids:
            single += divmod(id - 1000, 128) if id >= 1000 else [id]
        return super().decode(single)


async def begun(page: Page, model: str = "story") -> Frame:
    await page.submit("Once", model=model)
    return await page.until("message.end")


async def rewritten(page: Page, end: Frame, text: str) -> Frame:
    ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
    await page.send("turn.rewrite", **ids, client_id="mine", text=text)
    started = await page.until("turn.started")
    assert (started["client_id"], started["user_message"]) == ("mine", None)
    assert started["message"]["text"] == text
    return await page.until("message.end")


@pytest.mark.parametrize("model", ["story", "chat"])
async def test_it_goes_on_from_the_changed_text(site: FakeEngine, model: str) -> None:
    site.script = lambda request: [" upon a time"]
    async with Page() as page:
        end = await begun(page, model)
        site.script = lambda request: [" they met."]
        other = await rewritten(page, end, " upon a märchen")
        text = page.shown.texts[other["message_id"]]
        assert text == " upon a märchen they met."
        site.script = lambda request: ["Yes"]
        its = {"session_id": end["session_id"], "parent_id": other["message_id"], "model": model}
        await page.submit(" Then", **its)
        await page.until("message.end")
    first, second, third = site.requests
    given = " upon a märchen".encode()
    assert second.prompt_ids == (*first.prompt_ids, *given)
    assert second.answer_start == len(first.prompt_ids)
    written = (*second.prompt_ids, *b" they met.", END)
    assert third.prompt_ids[: len(written)] == written
    row = await in_database(lambda: Generation.objects.order_by("created_at")[1])
    starts = [*range(10), 9, 10, 11, 12, 13, 14]  # two bytes of one letter
    assert unpack(row.prefix_offsets) == [min(at, 15) for at in starts]
    texts = await in_database(lambda: list(Message.objects.filter(role="assistant")))
    assert {each.content for each in texts} == {" upon a time", text, "Yes"}
    assert len({each.parent_id for each in texts}) == 2


async def test_the_old_tokens_stay_as_far_as_the_text_is_the_old_one(site: FakeEngine) -> None:
    site.codecs["story"] = PairCodec(ModelKind.COMPLETION)
    site.script = lambda request: ["abcdefgh"]  # a token each, which no encoding would make
    async with Page() as page:
        end = await begun(page)
        await rewritten(page, end, "abcdeXYZ")
    first, second = site.requests
    given = second.prompt_ids[len(first.prompt_ids) :]
    assert given == (*b"abcde", *PairCodec(ModelKind.COMPLETION).encode("XYZ"))
    row = await in_database(lambda: Generation.objects.order_by("created_at")[1])
    assert unpack(row.prefix_offsets) == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    ("text", "code"), [(" ", "empty_input"), ("x" * 5000, "context_length_exceeded")]
)
async def test_what_cannot_be_writes_nothing(site: FakeEngine, text: str, code: str) -> None:
    async with Page() as page:
        end = await begun(page)
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        await page.send("turn.rewrite", **ids, client_id="mine", text=text)
        error = await page.until_error()
        assert (error["code"], error["client_id"]) == (code, "mine")
    assert await in_database(Message.objects.count) == 2
