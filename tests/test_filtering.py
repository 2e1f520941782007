"""What may not be said: found in whole texts, in texts that arrive in pieces, and on the way
through a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from chat import filtering
from chat.database import in_database
from chat.filtering.kinds import ContentFilter, Match
from chat.filtering.personal import PersonalData, is_identity_card, luhn
from chat.filtering.stream import FilteredStream
from chat.filtering.words import WordList
from chat.models import Event, Generation, Message
from tests.chat_client import Page
from tests.fake_engine import FakeEngine, prompt_text, text_delta

WORDS = WordList(["darn", "darn it all", "笨蛋", "C3PO"])
CARD = "4111 1111 1111 1111"
IDENTITY = "11010519491231002X"


def marked(chosen: ContentFilter, text: str) -> list[str]:
    return [text[match.start : match.end] for match in chosen.find(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Darn!", ["Darn"]),
        ("darning a darned sock", []),
        ("Oh darn it all.", ["darn it all"]),
        ("darn it allergy", ["darn"]),
        ("你这笨蛋吗", ["笨蛋"]),
        ("我说darn了", ["darn"]),
        ("c3po and c3pos", ["c3po"]),
        ("", []),
    ],
)
def test_a_word_is_found_whole(text: str, found: list[str]) -> None:
    assert marked(WORDS, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to ann.lee+x@mail.example.org, please", ["ann.lee+x@mail.example.org"]),
        ("邮箱是ann@example.com。", ["ann@example.com"]),
        ("an @handle and a@b", []),
        ("打13912345678找我", ["13912345678"]),
        ("139 1234 5678 or 139-1234-5678", ["139 1234 5678", "139-1234-5678"]),
        ("+44 20 7946 0958", ["+44 20 7946 0958"]),
        ("order 1391234567890", []),
        (f"身份证{IDENTITY}号", [IDENTITY]),
        (IDENTITY[:-1] + "1", []),
        (f"card {CARD}.", [CARD]),
        ("card 4111 1111 1111 1112", []),
        ("0000000000000000", []),
        ("in 1999 it cost 20000 or 3.14159265358979", []),
    ],
)
def test_what_belongs_to_a_person_is_found(text: str, found: list[str]) -> None:
    assert marked(PersonalData(), text) == found


def test_check_digits() -> None:
    assert luhn("79927398713")
    assert not luhn("79927398710")
    assert is_identity_card(IDENTITY)
    assert not is_identity_card("110105194912310021")


def streamed(chosen: list[ContentFilter], pieces: list[str]) -> tuple[str, bool, list[int]]:
    """What is shown of a text in pieces, whether it was ended, and where its tokens begin: the fake
    engine's, one for each byte."""
    stream = FilteredStream(chosen, "")
    text, length = "", 0
    offsets: list[int] = []
    for piece in pieces:
        shown = stream.take(text_delta(piece, length))
        length += len(piece)
        text += shown.text
        offsets += shown.offsets
        if stream.has_ended:
            return text, True, offsets
    shown = stream.rest()
    return text + shown.text, stream.has_ended, [*offsets, *shown.offsets]


SCRAPS = st.sampled_from(
    ["darn", " it", " all", "笨", "蛋", "他", "ann@example.com", "139", "1234", "5678", *"dar1@+ ."]
)


@pytest.mark.parametrize("chosen", [[WORDS], [PersonalData()], [WORDS, PersonalData()]])
@given(scraps=st.lists(SCRAPS, max_size=12), size=st.integers(1, 6))
def test_pieces_are_shown_like_the_whole(
    chosen: list[ContentFilter], scraps: list[str], size: int
) -> None:
    """However a text is cut, and a match with it."""
    text = "".join(scraps)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = filtering.matches(chosen, text)
    refused = next((match for match in found if match.replacement is None), None)
    kept = found if refused is None else found[: found.index(refused)]
    whole = filtering.replaced(text[: refused.start if refused else len(text)], kept)
    shown, ended, offsets = streamed(chosen, pieces)
    assert (shown, ended) == (whole, refused is not None)
    assert offsets == sorted(offsets)
    assert all(0 <= offset < len(whole) for offset in offsets)


def test_text_that_can_be_no_match_does_not_wait() -> None:
    stream = FilteredStream([WORDS, PersonalData()], "")
    assert stream.take(text_delta("Once upon a time, ", 0)).text == "Once upon a time, "
    assert stream.take(text_delta("你好", 18)).text == "你好"
    assert stream.take(text_delta("a" * 200, 20)).text == "a" * 200


def test_a_continued_answer_is_read_with_its_beginning() -> None:
    stream = FilteredStream([WORDS], "a yar")
    assert stream.take(text_delta("darn.", 0)).text == "darn."
    assert not stream.has_ended


@pytest.fixture
def chosen(settings: Any) -> Any:
    def choose(*names: str) -> None:
        settings.TINYLLM_FILTERS = list(names)
        filtering.filters.cache_clear()

    yield choose
    filtering.filters.cache_clear()


Chosen = Callable[..., None]


async def row() -> Generation:
    return await in_database(Generation.objects.select_related("message").get)


async def test_an_answer_ends_in_front_of_what_may_not_be_said(
    site: FakeEngine, chosen: Chosen, settings: Any, tmp_path: Path
) -> None:
    """Also where it comes in two pieces; and neither the log nor the row ever had it."""
    words = tmp_path / "words.txt"
    words.write_text("# ours\nmoonbase alpha  # a secret\n")
    settings.TINYLLM_FILTER_WORDS = str(words)
    chosen("words")
    site.script = lambda request: ["We met at moon", "base al", "pha ", asyncio.Event()]
    async with Page() as page:
        await page.submit("Where?")
        end = await page.until("message.end")
    generation = await row()
    assert (end["status"], end["finish_reason"]) == ("DONE", "content_filter")
    assert not end["can_continue"]
    assert generation.message.content == "We met at " == page.shown.texts[end["message_id"]]
    assert generation.output_tokens == len("We met at ")
    assert site.cancelled == [generation.request_id]
    logged = await in_database(lambda: str(list(Event.objects.values_list("payload", flat=True))))
    assert "moon" not in logged


async def test_personal_data_is_replaced_on_both_ways(site: FakeEngine, chosen: Chosen) -> None:
    chosen("personal")
    site.script = lambda request: ["Call 139", "1234", "5678 or", " mail a@b.org"]
    async with Page() as page:
        await page.submit(f"My card is {CARD}")
        end = await page.until("message.end")
    expected = "Call [telephone number] or mail [mail address]"
    assert page.shown.texts[end["message_id"]] == expected == (await row()).message.content
    asked = await in_database(Message.objects.get, role="user")
    assert asked.content == "My card is [bank card]"
    assert CARD not in prompt_text(site.requests[0])


async def test_a_message_is_refused_and_nothing_is_written(
    site: FakeEngine, chosen: Chosen
) -> None:
    chosen("words")
    async with Page() as page:
        await page.submit("You WANKER, 去死吧", client_id="mine")
        error = await page.until_error()
    assert (error["code"], error["client_id"]) == ("content_filter", "mine")
    assert error["fields"]["found"] == ["WANKER", "去死吧"]
    assert "WANKER" in error["message"]
    assert await in_database(Message.objects.count) == 0


class Shouting:
    """Somebody else's filter."""

    def find(self, text: str) -> list[Match]:
        return [Match(i, i + 1, ".") for i, c in enumerate(text) if c == "!"]

    def undecided(self, text: str) -> int:
        return 0


def test_a_filter_of_ones_own_is_named_by_its_path(chosen: Chosen) -> None:
    chosen("tests.test_filtering.Shouting", "personal")
    assert filtering.incoming("Hi! a@b.org!") == "Hi. [mail address]."


@pytest.mark.parametrize("name", ["wrods", "tests.test_filtering.Absent", "no.such.module"])
def test_an_unknown_filter_is_named(chosen: Chosen, name: str) -> None:
    chosen(name)
    with pytest.raises(ImproperlyConfigured, match=name):
        filtering.filters()


def test_a_list_that_is_missing_is_named(chosen: Chosen, settings: Any) -> None:
    settings.TINYLLM_FILTER_WORDS = "/nowhere/words.txt"
    chosen("words")
    with pytest.raises(ImproperlyConfigured, match=r"/nowhere/words\.txt"):
        filtering.filters()
