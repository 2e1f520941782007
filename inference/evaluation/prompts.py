"""The beginnings that models go on from: general ones, and ones about what the grammar has no words
for, which is looked up rather than believed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference.corpus.tables import DATA

PROMPTS = Path(__file__).with_name("prompts.toml")
# The first word of what comes next: no model is to take a beginning for a whole story.
_GOES_ON = {"en": " Then", "zh": "后来"}
_JUDGED = {"en": 100, "zh": 20}
_SMALL_WORD = re.compile(r"(?<![\w'’])[a-z]{3,}")
_MARKED = re.compile(r"\*([^*]+)\*")
_ENDING = re.compile(r"(?:ing|ed|es|s|er|ly|y|e)$")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Beginnings by list, such as `outside-en`. held: by list, of how many outside prompts a word
    is known nowhere, and how many there are."""

    texts: dict[str, list[str]]
    held: dict[str, tuple[int, int]] = field(default_factory=dict)


def choose(languages: Sequence[str], most: int = 100) -> Prompts:
    """Always the same ones for the same grammar; at most so many of each list. An outside prompt is
    taken only where one of its words is in none of the grammar's tables."""
    table = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))
    outside = {language: table["outside"][language] for language in languages}
    known = known_words(outside, grammar_texts(languages))
    chosen = Prompts({})
    for language in languages:
        new = [text for text in outside[language] if unknown_words(text, language, known)]
        chosen.held[f"outside-{language}"] = (len(new), len(outside[language]))
        most_here = min(most, _JUDGED[language])
        for name, texts in (("general", table["general"][language]), ("outside", new)):
            chosen.texts[f"{name}-{language}"] = [
                text.replace("*", "") + _GOES_ON[language] for text in texts[:most_here]
            ]
    return chosen


def content_words(prompt: str, language: str) -> set[str]:
    """Words that could be unknown: in English those without a capital, so no names, by their stem;
    in Chinese those that are marked."""
    if language == "zh":
        return set(_MARKED.findall(prompt))
    return {stem(word) for word in _SMALL_WORD.findall(prompt)}


def unknown_words(prompt: str, language: str, known: Collection[str]) -> set[str]:
    return content_words(prompt, language).difference(known)


def known_words(prompts: Mapping[str, Sequence[str]], texts: Iterable[str]) -> set[str]:
    """Those of the prompts' content words that are somewhere in the texts."""
    words = {
        language: {word for prompt in its for word in content_words(prompt, language)}
        for language, its in prompts.items()
    }
    english, chinese = words.get("en", set()), words.get("zh", set())
    seen: set[str] = set()
    known: set[str] = set()
    for text in texts:
        seen.update(re.findall(r"[a-z]{3,}", text.lower()))
        known |= {word for word in chinese - known if word in text}
    return known | english.intersection(map(stem, seen))


def grammar_texts(languages: Iterable[str]) -> list[str]:
    """The grammar's tables as they are stored: their plots, pools, names and thesaurus."""
    return [
        path.read_text(encoding="utf-8")
        for language in languages
        for path in sorted((DATA / language).rglob("*"))
        if path.is_file()
    ]


def stem(word: str) -> str:
    """Roughly: a word and its plural or past are one. Two words that are taken for one make a
    prompt count as known, which errs on the safe side."""
    while len(word) > 4 and (shorter := _ENDING.sub("", word)) != word and len(shorter) > 2:
        word = shorter
    return word[:-1] if len(word) > 3 and word[-1:] == word[-2:-1] else word
