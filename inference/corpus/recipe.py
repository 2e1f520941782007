"""What a corpus is made of. The same recipe gives the same bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SOURCES = ("grammar", "teacher", "chat")
# Characters of one token of a vocabulary of 4,096 tokens trained on such stories, and of
# one story: both measured (docs/corpus.md), both good to a few hundredths, which is enough to ask
# for so many tokens.
CHARACTERS_PER_TOKEN = {"en": 3.7, "zh": 1.5}
CHARACTERS_PER_STORY = {"en": 1100, "zh": 260}
# Stories of one file: few enough that a killed run loses seconds, with many files for many cores.
STORIES_PER_FILE = {"grammar": 10_000, "teacher": 500, "chat": 100}
# What TinyStories-656K puts around a story: in its tokenizer plain text, not one token.
TEACHER_BEGIN, TEACHER_END = "<|start_story|>", "<|end_story|>"
# The teacher is small and loses its thread when it is drawn from freely; the chat model loops when
# it is not.
SAMPLING: dict[str, dict[str, Any]] = {
    "teacher": {"temperature": 0.6, "top_p": 0.9, "stop": [TEACHER_END]},
    "chat": {
        "temperature": 0.7,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "max_tokens": 500,
    },
}
ATTEMPTS = {"teacher": 1, "chat": 4}
# One story of so many is held out; and so many times fewer are written of what is reserved.
HELD_OUT = 100
RESERVED = 200


class CorpusError(Exception):
    """Something that the person who asked can mend. The message says what."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """seed: of everything. chinese: the share of the grammar's tokens that are Chinese."""

    seed: int = 1
    chinese: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise CorpusError(f"--seed is {self.seed}; it must be from 0 to 2147483647.")
        if not 0 <= self.chinese <= 1:
            raise CorpusError(f"--chinese is {self.chinese}; it must be from 0 to 1.")

    def sampling(self, source: str) -> tuple[dict[str, Any], int]:
        """How a model's tokens are drawn, by the names of SamplingParams, and how many attempts
        each story has."""
        drawn = dict(SAMPLING[source])
        return {**drawn, "stop": tuple(drawn.get("stop", ()))}, ATTEMPTS[source]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sampling": SAMPLING, "attempts": ATTEMPTS}


@dataclass(frozen=True, slots=True)
class Job:
    """The stories from `first` up to `first + count` of one source and language: one file for
    training and one held out. Jobs of a source do not depend on how many there are."""

    source: str
    language: str
    number: int
    first: int
    count: int

    def file(self, split: str) -> str:
        return f"{self.source}-{self.language}-{split}-{self.number:05}.jsonl.gz"


def stories_for(tokens: int, language: str) -> int:
    characters = tokens * CHARACTERS_PER_TOKEN[language]
    return max(1, round(characters / CHARACTERS_PER_STORY[language])) if tokens else 0


def jobs(source: str, language: str, stories: int) -> list[Job]:
    size = STORIES_PER_FILE[source]
    return [
        Job(source, language, number, first, min(size, stories - first))
        for number, first in enumerate(range(0, stories, size))
    ]


def plan(
    recipe: Recipe, sources: list[str], *, stories: int | None, tokens: int | None
) -> list[Job]:
    """The files of every source: so many stories, or about so many tokens, of each. Raises
    CorpusError."""
    if (stories is None) == (tokens is None):
        raise CorpusError("Say how much: --stories N or --tokens N, and not both.")
    amount = stories if stories is not None else tokens
    if amount is None or amount < 1:
        raise CorpusError(f"{amount} is too few: at least 1.")
    planned: list[Job] = []
    for source in sources:
        if source not in SOURCES:
            raise CorpusError(f"--sources {source}: there are {', '.join(SOURCES)}.")
        shares = {"en": 1.0}
        if source == "grammar":
            shares = {"en": 1 - recipe.chinese, "zh": recipe.chinese}
        for language, share in shares.items():
            part = round(amount * share)
            count = part if stories is not None else stories_for(part, language)
            planned += jobs(source, language, count)
    return planned
