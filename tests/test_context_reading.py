"""What a model reads when a conversation is longer than its context, and how full that is: by a
real tokenizer and template, and turn by turn through the site."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.test import AsyncClient

from chat import engine
from chat.context.count import counted
from chat.context.reading import Asked, read
from chat.database import in_database
from chat.models import Generation
from chat.packing import unpack
from chat.prompt_selectors import PreviousTurn, PromptContext
from chat.prompting import first_prompt
from inference.errors import ContextLengthExceeded
from inference.prompt_codec import TokenizerCodec
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine, prompt_text
from tests.fixtures_models import chat_codec, chat_model_dir, codec, model_dir, model_dirs

__all__ = ["chat_codec", "chat_model_dir", "codec", "model_dir", "model_dirs"]

SYSTEM = "You answer in one short sentence."
QUESTIONS = [f"Question {n}: tell me about the sea, please." for n in range(12)]


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


class Talk:
    """A conversation with a tokenizer of its own: each turn is read, and answered in words."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.messages: list[dict[str, str]] = []
        self.previous: PreviousTurn | None = None
        self.left_out: list[int] = []
        self.appended: list[bool] = []

    @property
    def context(self) -> PromptContext:
        return PromptContext(None, self.messages, self.previous)

    def turns(self, questions: list[str]) -> list[list[int]]:
        return [self.turn(question) for question in questions]

    def turn(self, question: str, answer: str = "It is wide and salt.") -> list[int]:
        messages = [*self.messages, said("user", question)]
        before = counted(self.asked, self.context, question)
        reading = read(self.asked, self.context, messages)
        parts = before.as_json()["parts"]
        assert sum(parts.values()) - parts["reply"] == len(reading.ids), "counted as it is read"
        assert before.left_out == reading.memory.first
        output = self.asked.codec.encode(answer)
        fingerprint = engine.fingerprint(self.asked.codec)
        self.previous = PreviousTurn(
            self.asked.model, fingerprint, reading.ids, output, reading.record
        )
        self.messages = [*messages, said("assistant", answer)]
        self.left_out.append(reading.memory.first)
        self.appended.append(reading.appended)
        return reading.ids


def shortened(codec: TokenizerCodec, length: int) -> TokenizerCodec:
    """The same tokenizer as a model with a shorter context would have it."""
    codec.context_length = length
    return codec


@pytest.fixture
def small(chat_codec: TokenizerCodec) -> Any:
    whole = chat_codec.context_length
    yield shortened(chat_codec, 400)
    chat_codec.context_length = whole


def test_the_oldest_turns_are_left_out_in_one_go_and_then_it_is_appended_again(
    small: TokenizerCodec,
) -> None:
    talk = Talk(Asked(small, "chat", SYSTEM, "slide", max_tokens=50))
    prompts = talk.turns(QUESTIONS)
    assert max(map(len, prompts)) <= talk.asked.room == 350
    assert talk.left_out[0] == 0 < talk.left_out[-1]
    assert all(n % 2 == 0 for n in talk.left_out), "whole turns go"
    assert talk.left_out == sorted(talk.left_out)
    slides = [i for i in range(1, 12) if talk.left_out[i] != talk.left_out[i - 1]]
    assert [i for i, is_it in enumerate(talk.appended) if not is_it] == [0, *slides]
    assert len(slides) < 6, "not at every turn: what was computed is of use in between"
    for index in slides:
        kept = [said("system", SYSTEM), *talk.messages[talk.left_out[index] : 2 * index + 1]]
        assert prompts[index] == first_prompt(small, kept)
    for index in set(range(1, 12)) - set(slides):
        before = prompts[index - 1] + small.encode("It is wide and salt.")
        assert prompts[index][: len(before)] == before


def test_nothing_is_left_out_unless_it_was_asked_for(small: TokenizerCodec) -> None:
    talk = Talk(Asked(small, "chat", max_tokens=50))
    with pytest.raises(ContextLengthExceeded) as caught:
        talk.turns(QUESTIONS * 2)
    assert caught.value.fields["prompt_tokens"] >= 400
    assert set(talk.left_out) == {0}
    full = counted(talk.asked, talk.context, QUESTIONS[0])
    assert (full.reply, full.left_out) == (0, 0)
    assert full.system + full.history + full.message >= 400, "told, not cut"


def test_one_who_asks_for_all_again_gets_all_or_a_refusal(small: TokenizerCodec) -> None:
    talk = Talk(Asked(small, "chat", when_full="slide", max_tokens=50))
    talk.turns(QUESTIONS * 2)
    assert talk.left_out[-1] > 0
    talk.asked = replace(talk.asked, when_full="refuse")
    with pytest.raises(ContextLengthExceeded):
        read(talk.asked, talk.context, [*talk.messages, said("user", "And?")])
    small.context_length = 8192
    reading = read(talk.asked, talk.context, [*talk.messages, said("user", "And?")])
    assert (reading.memory.first, reading.appended) == (0, False)
    assert QUESTIONS[0] in small.decode(reading.ids)


def test_a_message_that_is_too_long_alone_is_refused_whatever_was_chosen(
    small: TokenizerCodec,
) -> None:
    talk = Talk(Asked(small, "chat", when_full="slide", max_tokens=50))
    talk.turn(QUESTIONS[0])
    with pytest.raises(ContextLengthExceeded):
        read(talk.asked, talk.context, [*talk.messages, said("user", "sea " * 500)])
    told = counted(talk.asked, talk.context, "sea " * 500)
    assert told.message > 400
    # one that just fits goes alone, with less room for its answer
    reading = read(talk.asked, talk.context, [*talk.messages, said("user", "sea " * 360)])
    assert reading.memory.first == 2


def test_a_story_slides_too(codec: TokenizerCodec) -> None:
    whole, codec.context_length = codec.context_length, 120
    talk = Talk(Asked(codec, "story", SYSTEM, "slide", max_tokens=20))
    for _ in range(10):
        talk.turn(" And then it rained on the sea.", " So they went home.")
    codec.context_length = whole
    assert talk.left_out[-1] > 0
    assert talk.previous is not None
    assert talk.previous.context["system_prompt"] == ""


def test_each_part_is_counted_by_the_template_that_makes_the_prompt(
    chat_codec: TokenizerCodec,
) -> None:
    plain = Asked(chat_codec, "chat", max_tokens=100)
    empty = PromptContext(None, [], None)
    asked = replace(plain, system_prompt=SYSTEM)
    told = counted(asked, empty, "")
    head = chat_codec.encode(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")
    assert told.system == len(head)
    assert counted(plain, empty, "").system == len(
        chat_codec.encode(chat_codec.render([said("user", "@")], add_generation_prompt=False))
    ) - len(chat_codec.encode("@<|im_end|>\n")), "the template's own words, where it has some"
    assert (told.history, told.message, told.files, told.reply) == (0, 0, 0, 100)
    draft = counted(asked, empty, "How deep is it?")
    assert draft.system == told.system
    assert draft.history == 0
    assert draft.message > len(chat_codec.encode("How deep is it?"))
    talk = Talk(asked)
    talk.turn("How deep is it?")
    after = counted(asked, talk.context, "")
    assert talk.previous is not None
    turn = len(talk.previous.prompt_ids) + len(talk.previous.output_ids)
    assert (after.system + after.history, after.message) == (turn, 0)
    other = counted(replace(asked, system_prompt=SYSTEM * 5), talk.context, "")
    assert other.history == pytest.approx(after.history, abs=4)
    assert other.system > after.system


async def told(page: Page, **fields: Any) -> Frame:
    name = uuid.uuid4().hex
    given = {"client_id": name, "session_id": None, "model": "chat", "text": "", **fields}
    await page.send("context.count", **given)
    while (frame := await page.until("context.counted"))["client_id"] != name:
        pass
    return frame


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_the_site_slides_and_says_so(site: FakeEngine) -> None:
    """One token a byte: the sums can be made by eye."""
    site.codecs["chat"].context_length = 400
    slide = {"when_full": "slide", "max_tokens": 60}
    async with Page() as page:
        new = await told(page, settings={"system_prompt": "S"}, text="abc")
        assert new["parts"]["system"] == len("<system\nS>\n<user\n")
        assert new["parts"]["message"] == len("abc>\n<assistant\n")
        await page.submit("First words", settings=slide)
        end = await page.until("message.end")
        session = end["session_id"]
        for number in range(6):
            its = {"session_id": session, "parent_id": end["message_id"]}
            await page.submit(f"Question number {number}, and some more", **its)
            end = await page.until("message.end")
        assert end["error"] is None
        now = await told(page, session_id=session)
        assert "First words" not in prompt_text(site.requests[-1])
        rows = await in_database(lambda: list(Generation.objects.order_by("created_at")))
        left_out = (rows[-1].context or {})["left_out"]
        assert now["left_out"] == left_out > 0
        used = len(unpack(rows[-1].prompt_ids)) + len(unpack(rows[-1].output_ids))
        assert now["parts"]["system"] + now["parts"]["history"] == used
        long = await told(page, session_id=session, text="x" * 250)
        assert long["left_out"] > left_out
    answer = await AsyncClient().put(
        f"/api/sessions/{session}/settings",
        json.dumps({"settings": {}}),
        content_type="application/json",
    )
    assert answer.status_code == 200
    async with Page() as page:
        await page.submit("More", session_id=session, parent_id=end["message_id"])
        assert (await page.until_error())["code"] == "context_length_exceeded"
        now = await told(page, session_id=session, text="More")
        assert (now["left_out"], now["parts"]["reply"]) == (0, 0)
        await page.send("context.count", client_id="x", session_id=None, model="absent", text="")
        error = await page.until_error()
        assert (error["code"], error["client_id"]) == ("model_unavailable", "x")


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_counting_asks_three_queries_however_long_the_conversation(
    site: FakeEngine, django_assert_num_queries: Any
) -> None:
    from chat.context.count import count
    from chat.identity import local_user
    from inference.types import SamplingParams

    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        its = {"session_id": end["session_id"], "parent_id": end["message_id"]}
        await page.submit("Two", **its)
        await page.until("message.end")

    def counting() -> None:
        owner = local_user().id
        asked = Asked(site.codecs["chat"], "chat")
        session = uuid.UUID(end["session_id"])
        with django_assert_num_queries(3):
            count(
                asked,
                SamplingParams(),
                owner_id=owner,
                session_id=session,
                settings=None,
                text="Hi",
            )

    await in_database(counting)
