"""What models are compared by, as numbers. What a repetition, a character or an end is, is defined
where the corpus is filtered by it: `inference/corpus/quality.py`."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from inference.corpus import quality
from inference.evaluation.subject import Story, Subject
from inference.training.texts import documents, text_files

# Units in a row that are taken for copied.
COPIED = 8
# Of each story, where different n-grams are counted across stories: longer texts say more twice.
COUNTED = 100
# Bytes of a corpus from which on processes of their own read its files.
_WORTH_PROCESSES = 1_000_000
Gram = tuple[str, ...]
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


def training_files(corpus: Path) -> list[Path]:
    return [path for path in text_files([corpus]) if "-heldout-" not in path.name]


def training_texts(files: Iterable[Path]) -> Iterator[str]:
    return (d.text for path in files for d in documents(path) if d.split == "train")


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


def story_numbers(stories: Sequence[Story], language: str, copied: float | None) -> Numbers:
    """Of continuations of the same prompts. copied: the share of their 8-grams that are in the
    training texts, None where it was not looked for. Characters are found by the capitals of their
    names, so in English alone."""
    told = [story.text for story in stories]
    begun = [" ".join(islice(quality.units(text), COUNTED)) for text in told]
    numbers = {
        "repeated_4grams": _mean(quality.repeated(text) for text in told),
        "distinct_2_within": _mean(quality.distinct([text], 2) for text in begun),
        "distinct_2_across": quality.distinct(begun, 2),
        "distinct_4_across": quality.distinct(begun, 4),
        "end_well": _mean(story.ended and quality.ends(story.whole) for story in stories),
        "units": _mean(len(quality.units(text)) for text in told),
    }
    if language == "en":
        numbers["keep_characters"] = _mean(quality.keeps_characters(s.whole) for s in stories)
    return numbers if copied is None else {**numbers, "copied_8grams": copied}


def copied_shares(
    stories: Mapping[str, Sequence[Story]], files: Sequence[Path]
) -> dict[str, float]:
    """By name, the share of the continuations' 8-grams that are somewhere in the training texts,
    word for word, marks among them. Exact: the stories' own n-grams are kept, and all files are
    read past them, by as many processes as there are cores."""
    grams = {
        name: [g for s in told for g in quality.ngrams(quality.units(s.text), COPIED)]
        for name, told in stories.items()
    }
    wanted = {gram for its in grams.values() for gram in its}
    seen: set[Gram] = set()
    workers = min(len(files), len(os.sched_getaffinity(0)))
    if workers < 2 or sum(path.stat().st_size for path in files) < _WORTH_PROCESSES:
        seen = seen.union(*map(partial(_found, wanted=wanted), files))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _look_for, (wanted,)) as pool:
            seen = seen.union(*pool.map(_found, files))
    return {n: sum(g in seen for g in its) / max(1, len(its)) for n, its in grams.items()}


_wanted: set[Gram] = set()


def _look_for(wanted: set[Gram]) -> None:
    """Once for each process, not with each file."""
    _wanted.update(wanted)


def _found(path: Path, wanted: set[Gram] | None = None) -> set[Gram]:
    sought = _wanted if wanted is None else wanted
    seen: set[Gram] = set()
    for text in training_texts([path]):
        seen |= sought.intersection(quality.ngrams(quality.units(text), COPIED))
    return seen


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
