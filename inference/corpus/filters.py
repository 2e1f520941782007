"""Which sampled stories are kept. Each filter says why it refuses, in one word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from inference.corpus.quality import (
    ends,
    keeps_characters,
    ngrams,
    repeated,
    sentences,
    units,
)

SHORTEST, LONGEST = 50, 450
MOST_REPEATED = 0.12
_ASSISTANT = re.compile(
    r"\b(?:as an ai|language model|i'm sorry, but|i (?:cannot|can't) (?:assist|help|provide|write)|"
    r"here(?:'s| is) (?:a|the|your) (?:short )?story|certainly!|the moral of|in this story|"
    r"user:|assistant:|prompt|word count|title:|once you have|let me know|http|www\.)",
    re.IGNORECASE,
)
# Nothing that a parent would have to explain.
_UNSUITABLE = re.compile(
    r"\b(?:kill\w*|murder\w*|suicide|own life|dead|death|died?|dying|corpse|blood\w*|guns?|"
    r"stabb\w*|weapons?|drunk\w*|beer|wine|whisky|drugs?|cigarettes?|sex\w*|naked|kidnap\w*|"
    r"tortur\w*|hell|damn|stupid|idiot|hat(?:e|ed|es) (?:him|her|them|you))\b",
    re.IGNORECASE,
)
_LAYOUT = re.compile(r"^\s*(?:[-*#>\d]|\*\*)|[{}<>\[\]|\\_=~^*]", re.MULTILINE)
_ENGLISH = re.compile(r"[A-Za-z0-9\s.,!?;:'\"’‘“”—–…()-]")
_SMALL = frozenset(
    (
        "a",
        "and",
        "he",
        "i",
        "in",
        "it",
        "of",
        "said",
        "she",
        "that",
        "the",
        "they",
        "to",
        "was",
        "you",
    )
)


def short_or_long(text: str) -> bool:
    return not SHORTEST <= len(text.split()) <= LONGEST


def cut_off(text: str) -> bool:
    return not ends(text)


def loops(text: str) -> bool:
    """The same words again and again: many repeated 4-grams, a sentence three times, or eight
    words in a row twice within forty."""
    if repeated(text, 4) > MOST_REPEATED:
        return True
    counts = Counter(s.lower() for s in sentences(text) if len(s.split()) > 3)
    if counts and counts.most_common(1)[0][1] >= 3:
        return True
    last: dict[tuple[str, ...], int] = {}
    for place, gram in enumerate(ngrams(units(text), 8)):
        if place - last.get(gram, -41) <= 40:
            return True
        last[gram] = place
    return False


def loses_characters(text: str) -> bool:
    return not keeps_characters(text)


def assistant_talk(text: str) -> bool:
    return _ASSISTANT.search(text) is not None or _LAYOUT.search(text) is not None


def unsuitable(text: str) -> bool:
    """Not for small children."""
    return _UNSUITABLE.search(text) is not None


def not_english(text: str) -> bool:
    """Garbage: characters of another script, few of the commonest words, or a word too long."""
    words = re.findall(r"[a-z]+", text.lower())
    strange = len(_ENGLISH.sub("", text))
    common = sum(word in _SMALL for word in words)
    return strange > 0 or common < 0.15 * len(words) or max(map(len, words), default=99) > 22


FILTERS: dict[str, Callable[[str], bool]] = {
    "length": short_or_long,
    "cut off": cut_off,
    "loop": loops,
    "assistant": assistant_talk,
    "unsuitable": unsuitable,
    "garbage": not_english,
    "characters": loses_characters,
}


def refusal(text: str) -> str | None:
    """Why a story is refused; None: it is good."""
    return next((name for name, refuses in FILTERS.items() if refuses(text)), None)
