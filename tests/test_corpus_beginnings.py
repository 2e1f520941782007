"""Stories that begin with a situation: whatever it is, the story is about its hero."""

from __future__ import annotations

import re
from functools import cache

import pytest

from inference.corpus import beginnings, grammar, quality
from inference.corpus.beginnings import situations
from inference.corpus.draws import Draws
from inference.corpus.story import Story
from inference.corpus.tables import DATA, load

LANGUAGES = ("en", "zh")
TOLD = 900
KINDS = {"", "thing", "sight", "food", "place", "person", "animal"}


@cache
def told(language: str) -> list[tuple[str, Story]]:
    """Stories that begin with a situation, and what they were told from."""
    stories = [grammar.tell(language, Draws("begun", language, i)) for i in range(TOLD)]
    return [(text, story) for text, story in stories if "scene" in story.kept]


@pytest.mark.parametrize(("language", "least"), [("en", (500, 40, 60)), ("zh", (250, 25, 40))])
def test_there_are_many(language: str, least: tuple[int, int, int]) -> None:
    pools = load(language).pools
    assert len({row["situation"] for row in load(language).rows["situations"]}) >= least[0]
    assert len(pools["situation bridge"]) >= least[1]
    assert len(pools["situation echo"]) >= least[2]
    assert {chosen.kind for chosen in situations(language)} == KINDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_situation_fits_a_hero(language: str) -> None:
    facts = [story.facts for _, story in told(language)]
    for chosen in situations(language):
        assert any(chosen.line.fits(held) for held in facts), chosen.line


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_echoes(language: str) -> None:
    lines = load(language).pools["situation echo"]
    for kind in KINDS - {""}:
        assert sum(f"echo.{kind}" in line.needs for line in lines) >= 3, kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_quarter_of_the_stories_begins_so(language: str) -> None:
    assert abs(len(told(language)) / TOLD - beginnings.SITUATIONS) < 0.05


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_hero_is_the_same_to_the_end(language: str) -> None:
    for text, story in told(language):
        hero, half = story.cast["A"], len(text) // 2
        assert hero.name.lower() in text[: half + 60].lower(), text
        assert hero.name.lower() in text[half:].lower(), text
        assert hero.kind.lower() in text.lower() or hero.words.get("form") == "kindless", text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_named_comes_up_again(language: str) -> None:
    named = [
        (text, story.kept["reminder"]) for text, story in told(language) if "reminder" in story.kept
    ]
    again = [echo.lower() in text[len(text) // 2 :].lower() for text, echo in named]
    assert sum(again) > 0.7 * len(again)


@pytest.mark.parametrize("language", LANGUAGES)
def test_they_are_whole(language: str) -> None:
    for text, _ in told(language):
        assert quality.ends(text), text
        assert not re.search(r"[{}\[\]|]|  | [,.!?]|。。|，，", text), text


def test_held_out_situations_of_plots_are_left_alone() -> None:
    for index in range(40):
        story = grammar.tell("en", Draws("kept", index), reserved=True)[1]
        assert "scene" not in story.kept


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_situations_hide_no_words_of_plots(language: str) -> None:
    """What is kept for a story comes before the fields of its plot."""
    words = r"\{=?(?:(?:in|to)?scene|reminder|caller|beast|meal|ware)[}.]"
    for path in (DATA / language).rglob("*"):
        if path.is_file() and path.stem != "situations":
            assert not re.search(words, path.read_text("utf-8"), re.IGNORECASE), path
