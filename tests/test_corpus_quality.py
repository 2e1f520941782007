"""Measures and filters: each catches its own case, and good stories pass."""

from __future__ import annotations

import pytest

from inference.corpus import quality
from inference.corpus.duplicates import Seen, likeness, signature
from inference.corpus.filters import FILTERS, refusal
from inference.corpus.grammar import write

GOOD = (
    'One morning, Nora found a small boat on the shore. It had a hole in its side. "I can mend '
    'it," said Nora. She ran home and asked her grandfather for a board and some nails. He came '
    "along, because he liked boats as well. They worked until noon. Then the hole was closed, and "
    "the boat was as good as new. Nora pushed it into the water. It did not sink. The wind filled "
    "the little sail, and soon they were far out. When the sun went down, Nora and her grandfather "
    "came back, tired and happy."
)
BAD = {
    "length": "Nora found a boat. She was happy.",
    "cut off": GOOD.removesuffix("came back, tired and happy.") + "came back, and then",
    "loop": GOOD + " She was very happy and she sang." * 4,
    "assistant": GOOD + " I hope you like it. In this story, Nora learns to mend a boat.",
    "unsuitable": GOOD.replace("tired and happy", "and the old gun was gone"),
    "garbage": GOOD.replace("boat", "лодка"),
    "characters": GOOD.replace("Nora and her grandfather", "Peter and Peter's dog").replace(
        "Nora pushed", "Peter pushed"
    ),
}


def test_a_good_story_passes() -> None:
    assert refusal(GOOD) is None


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_catches_its_case_and_no_other_filter_does(name: str) -> None:
    assert {other for other, refuses in FILTERS.items() if refuses(BAD[name])} == {name}


def test_stories_of_the_grammar_pass_where_they_are_no_chant() -> None:
    refused = [refusal(write("en", 11, index)) for index in range(200)]
    assert {why for why in refused if why} <= {"loop", "characters", "unsuitable"}
    assert sum(why is None for why in refused) > 170


def test_repetition_is_a_share_of_four_grams() -> None:
    assert quality.repeated("a b c d e f") == 0
    assert quality.repeated("a b c d a b c d") == pytest.approx(1 / 5)
    assert quality.repeated("short") == 0


def test_distinct_counts_over_all_texts() -> None:
    assert quality.distinct(["a b", "a c"], 1) == pytest.approx(3 / 4)
    assert quality.distinct([], 1) == 0


def test_units_are_words_or_chinese_characters() -> None:
    assert quality.units("Don't stop, 小猫!") == ["don't", "stop", ",", "小", "猫", "!"]


def test_known_says_how_much_was_read_before() -> None:
    known = quality.Known([GOOD])
    assert known.share(GOOD) == 1
    assert known.share("Something else that nobody has ever written before in such words.") == 0
    assert known.share("Too short.") == 0


def test_names_are_words_with_a_capital_that_is_no_beginning() -> None:
    assert quality.names(GOOD) == {"Nora": 4}
    assert quality.names("The cat sat. Then it slept. Tom saw Ann. Tom ran. Tom fell.") == {
        "Ann": 1,
        "Tom": 3,
    }


def test_characters_are_kept_without_names_too() -> None:
    assert quality.keeps_characters("A cat sat on a mat. It saw a dog. The cat ran away. The end.")


def test_ends_wants_a_mark_and_closed_quotation() -> None:
    assert quality.ends('She said, "Good night."')
    assert quality.ends("他说：“晚安。”")
    assert not quality.ends('She said, "Good night.')
    assert not quality.ends("She said")


def test_near_duplicates_are_found_and_others_are_not() -> None:
    seen = Seen()
    assert seen.is_new(GOOD)
    assert not seen.is_new(GOOD.replace("Nora", "Lucy", 1).replace("noon", "night"))
    assert all(seen.is_new(write("en", 3, index)) for index in range(20))


def test_likeness_is_that_of_the_shingles() -> None:
    changed = GOOD.replace("found a small boat on the shore", "saw something on the sand")
    assert likeness(signature(GOOD), signature(GOOD)) == 1
    assert 0.6 < likeness(signature(GOOD), signature(changed)) < 1
