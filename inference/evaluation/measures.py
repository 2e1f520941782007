"""What models are compared by, as numbers. What a repetition, a character or an end is, is defined
where the corpus is filtered by it: `inference/corpus/quality.py`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.corpus import quality
from inference.evaluation.subject import Story, Subject
from inference.training.texts import documents, text_files

# Units in a row that are taken for copied.
COPIED = 8
Numbers = dict[str, float]


def heldout_texts(
    corpus: Path, languages: Collection[str], characters: int
) -> dict[str, list[str]]:
    """Held-out texts of a corpus in these languages, or in one that is not named, by source and
    language; the first ones of each up to so many characters. Raises TrainingError."""
    found: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for path in text_files([corpus]):
        if "-train-" in path.name:
            continue
        for document in documents(path):
            if document.split != "heldout" or document.language not in ("", *languages):
                continue
            if sizes.get(document.group, 0) < characters:
                found.setdefault(document.group, []).append(document.text)
                sizes[document.group] = sizes.get(document.group, 0) + len(document.text)
    return found


def training_texts(corpus: Path) -> Iterator[str]:
    for path in text_files([corpus]):
        if "-heldout-" not in path.name:
            yield from (d.text for d in documents(path) if d.split == "train")


def foresight(subject: Subject, texts: Iterable[str]) -> Numbers:
    """Perplexity per token, and, to compare models with different tokenizers, per character; and
    bits per byte."""
    loss, tokens, characters, size = 0.0, 0, 0, 0
    for text in texts:
        nats, count = subject.loss(text)
        loss, tokens = loss + nats, tokens + count
        characters, size = characters + len(text), size + len(text.encode())
    return {
        "per_token": math.exp(loss / tokens),
        "per_character": math.exp(loss / characters),
        "bits_per_byte": loss / size / math.log(2),
    }


def story_numbers(stories: Sequence[Story], copied: float | None) -> Numbers:
    """Of continuations of the same prompts. copied: the share of their 8-grams that are in the
    training texts, None where it was not looked for."""
    told = [story.text for story in stories]
    numbers = {
        "repeated_4grams": _mean(quality.repeated(text) for text in told),
        "distinct_2_within": _mean(quality.distinct([text], 2) for text in told),
        "distinct_2_across": quality.distinct(told, 2),
        "distinct_4_across": quality.distinct(told, 4),
        "keep_characters": _mean(quality.keeps_characters(story.whole) for story in stories),
        "end_well": _mean(story.ended and quality.ends(story.whole) for story in stories),
        "units": _mean(len(quality.units(text)) for text in told),
    }
    return numbers if copied is None else {**numbers, "copied_8grams": copied}


def copied_shares(
    stories: Mapping[str, Sequence[Story]], corpus: Iterable[str]
) -> dict[str, float]:
    """For each model, the share of its stories' 8-grams that are somewhere in the corpus, word
    for word. Exact: the stories' own n-grams are kept, the corpus is read past them."""
    grams = {
        name: [g for s in told for g in quality.ngrams(quality.units(s.text), COPIED)]
        for name, told in stories.items()
    }
    wanted = {gram for its in grams.values() for gram in its}
    seen: set[tuple[str, ...]] = set()
    for text in corpus:
        seen |= wanted.intersection(quality.ngrams(quality.units(text), COPIED))
    return {n: sum(g in seen for g in its) / max(1, len(its)) for n, its in grams.items()}


def judged_by(judge: Subject, stories: Sequence[Story]) -> float:
    """Perplexity per character of the continuations, as a larger model sees them."""
    loss, characters = 0.0, 0
    for story in stories:
        if story.text:
            loss += judge.loss(story.whole)[0] - judge.loss(story.prompt)[0]
            characters += len(story.text)
    return math.exp(loss / characters) if characters else math.nan


def _mean(values: Iterable[Any]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
