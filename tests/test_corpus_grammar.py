"""The story grammar: every story is whole, keeps its people, and depends on its number alone."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from inference.corpus import grammar, invented, quality
from inference.corpus.draws import Draws
from inference.corpus.filters import unsuitable
from inference.corpus.polish import chinese, english
from inference.corpus.story import Story
from inference.corpus.tables import Plot, load
from inference.corpus.templates import TemplateError, Thesaurus, parse, parse_line
from inference.corpus.words import drawn

LANGUAGES = ("en", "zh")
COUNT = 250


@cache
def told(language: str) -> list[tuple[str, Story]]:
    """Stories, and what they were told from."""
    return [grammar.tell(language, Draws("test", language, i)) for i in range(COUNT)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_plot_tells_every_case(language: str) -> None:
    """A slot without a word, or a beat that no line fits, is found here and not on night three."""
    tables = load(language)
    for plot in (*tables.plots, *tables.open_plots):
        for number in range(3 * len(plot.cases)):
            text = grammar.retell(plot, Draws("case", plot.name, number), language)
            assert not re.search(r"[{}\[\]|]|  | [,.!?]", text), f"{plot.name}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_stories_end_as_sentences_do(language: str) -> None:
    assert [text for text, _ in told(language) if not quality.ends(text)] == []


def test_english_stories_keep_their_characters() -> None:
    kept = [quality.keeps_characters(text) for text, _ in told("en")]
    assert sum(kept) >= 0.98 * COUNT


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_in_a_story_stays_in_it(language: str) -> None:
    """The hero's name is in the last third, and nobody acts who was never introduced."""
    for text, story in told(language):
        end = text[len(text) * 2 // 3 - 20 :].lower()
        assert story.cast["A"].name.lower() in end, text
        for person in story.cast.values():
            named = re.search(rf"\b{person.name}\b", text)
            assert person.shown or not named, f"{person.name} is nobody: {text}"


def test_english_agrees() -> None:
    for text, _ in told("en"):
        assert not re.search(
            r"\b[Aa] (?!ewe|one\b|once\b)[aeio]\w+|\b[Aa]n [bcdfgjklmnpqrstvwxyz]\w+", text
        ), text
        assert not re.search(r"\b(\w+) \1 \1\b", text.replace("Drip", ""), re.IGNORECASE), text
        assert not re.search(r"(?:^|[.!?] )[a-z]", text, re.MULTILINE), text
        assert not re.search(r"\b(?:he|she)'s \b(?!n)", text), text


def test_stories_differ() -> None:
    texts = [text for text, _ in told("en")]
    assert len(set(texts)) == COUNT
    assert len({text[:30] for text in texts}) > 0.75 * COUNT
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[0] < 120
    assert lengths[-1] > 250
    assert max(Counter(texts[i].split(".")[-2] for i in range(COUNT)).values()) < COUNT // 20


def test_a_story_depends_on_seed_and_number_alone() -> None:
    first = [grammar.write("en", 7, index) for index in (3, 1, 2)]
    assert first == [grammar.write("en", 7, index) for index in (3, 1, 2)]
    assert grammar.write("en", 8, 3) != first[0]


def test_reserved_names_and_situations_are_in_no_other_story() -> None:
    reserved = {
        name for row in load("en").rows["names"] if row.reserved for name in row.words("names")
    }
    for index in range(40):
        assert reserved & set(re.findall(r"\w+", grammar.write("en", 1, index, reserved=True)))
    for text, _ in told("en"):
        assert not reserved & set(re.findall(r"\w+", text))


def test_there_is_enough_of_everything() -> None:
    tables = load("en")
    assert len(tables.plots) >= 45
    assert sum(len(row.words("names")) for row in tables.rows["names"]) >= 300
    words = {word for text, _ in told("en") for word in quality.units(text)}
    assert len(words) > 2300


def _plot(lines: str) -> Plot:
    from inference.corpus.tables import Beat

    return Plot("planted", beats=[Beat("one", (parse_line(lines),))])


def test_a_mistake_in_a_table_is_named() -> None:
    with pytest.raises(TemplateError, match="never closed"):
        parse("{A went home")
    with pytest.raises(TemplateError, match="do not match"):
        parse("a|b")
    with pytest.raises(TemplateError, match="'nonsense'"):
        grammar.retell(_plot("{nonsense}"), Draws(1), "en")
    with pytest.raises(TemplateError, match="nobody is C"):
        grammar.retell(_plot("{C} came."), Draws(1), "en")


def test_a_line_asks_for_facts() -> None:
    line = parse_line("(rain,!night) It rained.")
    assert line.fits({"rain"})
    assert not line.fits({"rain", "night"})
    assert not line.fits(set())


def test_thesaurus_leaves_slots_alone() -> None:
    widen = Thesaurus(["at once = right away / now", "A = B"]).widen
    assert widen("{A} came at once, not atonce") == "{A} came [at once|right away|now], not atonce"


def test_thesaurus_keeps_capitals_and_leaves_guarded_phrases() -> None:
    widen = Thesaurus(["big = large", "big sister", "Then = Next"]).widen
    assert widen("Big and big") == "[Big|Large] and [big|large]"
    assert widen("a big sister, then") == "a big sister, then"


def test_speech_has_paragraphs_of_its_own_in_some_stories() -> None:
    texts = [text for text, _ in told("en")]
    apart = [text for text in texts if '"\n\n"' in text]
    assert 0.05 * COUNT < len(apart) < 0.6 * COUNT


def test_polish_mends_what_a_phrase_cannot_know() -> None:
    assert english("a old owl ate a unicorn's  apple in a hour .") == (
        "An old owl ate a unicorn's apple in an hour."
    )
    assert english('"Is it you?" she asked. he nodded.') == '"Is it you?" she asked. He nodded.'


def test_chinese_has_no_spaces_for_a_thesaurus_to_look_for() -> None:
    assert Thesaurus(["忽然 = 突然"]).widen("它忽然{忽然}") == "它[忽然|突然]{忽然}"


def test_a_word_is_drawn_with_its_measure_word_and_only_once() -> None:
    first = drawn(Draws(1), "zh", "o=things:light", {})
    measures = {row["measure"] for row in load("zh").rows["things"] if "light" in row.words("tags")}
    assert first["o.measure"] in measures
    assert first["o.full"] == f"一{first['o.measure']}{first['o.look']}{first['o']}"
    for seed in range(50):
        assert drawn(Draws(seed), "zh", "p=things:light", first)["p"] != first["o"]
    with pytest.raises(TemplateError, match="o=things:heavy"):
        drawn(Draws(1), "zh", "o=things:heavy", {})


def test_chinese_has_enough_of_everything() -> None:
    tables = load("zh")
    assert len(tables.plots) >= 50
    assert len({word for row in tables.rows["things"] for word in row.words("words")}) >= 380
    assert len({row["kind"] for row in tables.rows["kinds"]}) >= 120
    assert len(tables.rows["places"]) >= 110


def test_chinese_speech_has_one_mark_at_its_end() -> None:
    assert chinese("它说：“好。”。") == "它说：“好。”"
    for text, _ in told("zh"):
        assert not re.search(r"[。！？]”[。，]|，[，。]|的的|地地", text), text


def test_invented_names_are_many_and_for_children() -> None:
    draws = Draws("names")
    for language, least in (("en", 1500), ("zh", 700)):
        for gender in "mfn":
            names = [invented.name(draws, language, gender) for _ in range(2000)]
            assert len(set(names)) > least, (language, gender, len(set(names)))
            for name in names:
                assert 2 <= len(name) <= 8
                assert language == "zh" or (name[0].isupper() and name[1:].islower())
                assert not unsuitable(name)
