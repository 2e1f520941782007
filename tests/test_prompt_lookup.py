"""Guesses from the text so far: where they come from, how far they go, what a step costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, SupportsIndex

import pytest

from inference.benchmark_speculation import REPEATING, about
from inference.prompt_lookup import DraftCost, PromptLookup

ROOT = Path(__file__).resolve().parent.parent
CHEAP, DEAR = DraftCost(row=0.01, step=0), DraftCost(row=0.25, step=0.5)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def guessed(text: str, most: int = 8, *, readers: int = 1, cost: DraftCost = CHEAP) -> str:
    tokens = letters(text)
    draft = PromptLookup(tokens, len(tokens)).draft(most, readers, cost)
    return "".join(map(chr, draft))


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("abcdefgh-abc", "defgh-ab"),
        ("abcX-abcY-abc", "Y-abcY-a"),  # the latest of two
        ("abcX-bcY-abc", "X-bcY-ab"),  # but the longer one first
        ("abababab", "abababab"),  # a guess goes on into itself
        ("aaaa", "aaaaaaaa"),
        ("abcdefg", ""),
        ("", ""),
        ("a", ""),
    ],
)
def test_what_followed_the_last_tokens_before_is_guessed(text: str, guess: str) -> None:
    assert guessed(text) == guess


def test_at_most_as_many_as_are_asked_for() -> None:
    assert [len(guessed("abababab", most)) for most in (1, 3, 16)] == [1, 3, 16]


def test_a_place_that_was_right_is_followed_past_a_later_one() -> None:
    """Of "…bcd" there are two; the longer one is known only to who came along it."""
    tokens = letters("12345abcdX 99abcdY 1234")
    lookup = PromptLookup(tokens, len(tokens))
    for letter in "5abcd":
        lookup.draft(8, 1, CHEAP)
        tokens.append(ord(letter))
    assert lookup.draft(1, 1, CHEAP) == (ord("X"),)


def test_guesses_that_cost_more_are_fewer() -> None:
    text = "abcdefghijklmnopqrstuvwxyz-abc"
    lengths = [len(guessed(text, 16, cost=DraftCost(row, 0))) for row in (0.01, 0.1, 0.3, 1)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 10
    assert lengths[-1] == 0


def test_guesses_in_company_are_fewer() -> None:
    text = "abcdefghijklmnopqrstuvwxyz-abc"
    lengths = [len(guessed(text, 16, readers=n, cost=DraftCost(0.25, 0))) for n in (1, 4, 32)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1] == 0


def test_few_right_guesses_are_no_reason_for_another_step() -> None:
    tokens = letters("abcd-ab")
    lookup = PromptLookup(tokens, len(tokens))
    assert lookup.draft(8, 1, DraftCost(row=0.03, step=0)) != ()
    assert lookup.draft(8, 1, DraftCost(row=0.03, step=1)) == ()


def test_wrong_guesses_end_it_and_right_ones_bring_it_back() -> None:
    """Right or wrong is learned whether something was guessed or not."""
    tokens = letters("abc0")
    lookup = PromptLookup(tokens, len(tokens))
    for digit in range(1, 60):
        tokens += [*letters("abc"), 1000 + digit]
    assert lookup.draft(8, 1, DEAR) == ()
    tokens += letters("abc")
    assert lookup.draft(8, 1, DEAR) == ()
    for _ in range(30):
        tokens += letters("abcdefghij")
    assert lookup.draft(8, 1, DEAR) == tuple(letters("abcdefgh"))


class Watched(list[int]):
    """Counts how often it is read."""

    reads = 0

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        self.reads += 1
        return super().__getitem__(index)


def test_a_step_looks_at_new_tokens_only() -> None:
    tokens = Watched(range(8000))
    lookup = PromptLookup(tokens, 4000)
    lookup.draft(16, 1, CHEAP)
    tokens.reads = 0
    tokens.append(5)
    lookup.draft(16, 1, CHEAP)
    assert tokens.reads < 10


@pytest.mark.parametrize("name", REPEATING)
def test_the_benchmark_finds_its_texts(name: str) -> None:
    question, of = REPEATING[name]
    assert len(about(ROOT, question, of)) > len(question) + 300
