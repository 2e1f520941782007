"""Facts hidden in a long text, to be asked for at its end ("needle in a haystack", Kamradt, 2023).

Five facts of one kind lie in one text, each at a depth of its own: who answers must find the one
that was asked for, and the text is read once for five questions. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

CITIES = ("Lisbon", "Oslo", "Cairo", "Quito", "Hanoi")
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Needle:
    """The secret number of a city. depth: from 0, before the text, to 1, after it."""

    city: str
    number: str
    depth: float

    @property
    def opening(self) -> str:
        """What an answer may begin with, so that the number comes next."""
        return f"The secret number of {self.city} is"

    @property
    def sentence(self) -> str:
        return f"{self.opening} {self.number}."

    @property
    def question(self) -> str:
        return f"What is the secret number of {self.city}?"


def needles(turn: int) -> tuple[Needle, ...]:
    """Of the turn-th text, always the same: other numbers in each, and each city one depth
    further."""
    draw = Random(turn)
    numbers = draw.sample(range(10 ** (_DIGITS - 1), 10**_DIGITS), len(CITIES))
    return tuple(
        Needle(city, str(number), DEPTHS[(index + turn) % len(DEPTHS)])
        for index, (city, number) in enumerate(zip(CITIES, numbers, strict=True))
    )


def hidden(text: str, facts: Sequence[Needle]) -> str:
    """The text with each fact as a paragraph of its own, at the paragraph's end that is nearest to
    its depth, measured in characters."""
    paragraphs = text.split("\n\n")
    ends = [0]
    for paragraph in paragraphs:
        ends.append(ends[-1] + len(paragraph))
    places: dict[int, list[str]] = {}
    for fact in sorted(facts, key=lambda fact: fact.depth):
        wanted = fact.depth * ends[-1]
        place = min(range(len(ends)), key=lambda index: abs(ends[index] - wanted))
        places.setdefault(place, []).append(fact.sentence)
    mixed = list(places.get(0, []))
    for index, paragraph in enumerate(paragraphs, start=1):
        mixed += [paragraph, *places.get(index, [])]
    return "\n\n".join(mixed)


def asked(text: str, fact: Needle) -> list[dict[str, str]]:
    """The conversation that asks for a fact, the text first."""
    words = f"{text}\n\n{fact.question} Answer with the number only."
    return [{"role": "user", "content": words}]
