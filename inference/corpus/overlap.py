"""`python -m inference.corpus.overlap LANGUAGE [WORDS]`: how much of a new story of the grammar
stands word for word in a corpus of it, by the size of the corpus and by the kind of plot, and what
is said most often.

The stories of another seed are compared with those of a corpus that is made meanwhile and not
kept. A window is eight units in a row (`inference/corpus/quality.py`), as where a model is
compared with what it read; 64 bits of each are kept.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inference.corpus import grammar, quality
from inference.corpus.draws import Draws

Codes = npt.NDArray[np.uint64]
WINDOW = 8
FRESH = 600
CORPUS_SEED, FRESH_SEED = 1, 2
WORDS = 10_000_000
# Stories of the corpus that a process makes at once.
CHUNK = 2_000
_SHOWN = 40
_FACTORS = np.array(
    [pow(0x9E3779B97F4A7C15, n + 1, 1 << 64) for n in range(WINDOW)], dtype=np.uint64
)


@cache
def _code(unit: str) -> int:
    data = unit.encode()
    return zlib.crc32(data) << 32 | zlib.crc32(data[::-1], len(data))


def codes(units: Sequence[str]) -> Codes:
    """One for each window of the units: none where there are too few."""
    count = max(0, len(units) - WINDOW + 1)
    each = np.fromiter(map(_code, units), np.uint64, len(units))
    found = np.zeros(count, np.uint64)
    for at, factor in enumerate(_FACTORS):
        found += (each[at : at + count] ^ (each[at : at + count] >> np.uint64(29))) * factor
    return found


@dataclass(frozen=True, slots=True)
class Fresh:
    """New stories: their windows one after the other, and of which story each is. kinds: open or
    closed, of each story."""

    units: list[list[str]]
    kinds: list[str]
    codes: Codes
    story: npt.NDArray[np.int64]


def fresh(language: str, count: int = FRESH) -> Fresh:
    told = [
        grammar.tell(language, Draws("grammar", language, FRESH_SEED, index, False))
        for index in range(count)
    ]
    units = [quality.units(text) for text, _ in told]
    each = [codes(its) for its in units]
    kinds = ["open" if "open" in story.facts else "closed" for _, story in told]
    story = np.repeat(np.arange(count), [len(its) for its in each])
    return Fresh(units, kinds, np.concatenate(each), story)


def _chunk(language: str, stories: range) -> tuple[int, Codes]:
    """How many units some stories of the corpus have, and the codes of their windows."""
    units = (quality.units(grammar.write(language, CORPUS_SEED, index)) for index in stories)
    sizes, each = zip(*((len(its), codes(its)) for its in units), strict=True)
    return sum(sizes), np.concatenate(each)


def met(
    language: str, new: Fresh, words: int, chunk: int = CHUNK
) -> tuple[npt.NDArray[np.int64], Counter[int]]:
    """Of each window, how many words of the corpus had been read when it was first met, or -1;
    and how often each code was met."""
    sought, back = np.unique(new.codes, return_inverse=True)
    first = np.full(len(sought), -1, np.int64)
    times = np.zeros(len(sought), np.int64)
    read = 0
    for size, found in _corpus(language, chunk):
        read += size
        at = np.searchsorted(sought, found).clip(max=len(sought) - 1)
        hits = at[sought[at] == found]
        np.add.at(times, hits, 1)
        first[hits] = np.where(first[hits] < 0, read, first[hits])
        if read >= words:
            break
    return first[back], Counter(dict(zip(sought.tolist(), times.tolist(), strict=True)))


def _corpus(language: str, chunk: int) -> Iterator[tuple[int, Codes]]:
    """Without end, in order, by as many processes as there are cores."""
    jobs = (range(first, first + chunk) for first in range(0, sys.maxsize, chunk))
    workers = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context)
    try:
        waiting = [pool.submit(_chunk, language, next(jobs)) for _ in range(workers + 1)]
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(_chunk, language, next(jobs)))
    finally:
        pool.shutdown(cancel_futures=True)


def shares(new: Fresh, first: npt.NDArray[np.int64], words: int) -> dict[str, float]:
    """By kind of plot and of all, the share of windows that the first `words` have."""
    known = (first >= 0) & (first <= words)
    kind = np.array(new.kinds)[new.story]
    by_kind = {name: float(known[kind == name].mean()) for name in sorted(set(new.kinds))}
    return {"all": float(known.mean()), **by_kind}


def most_said(new: Fresh, times: Counter[int]) -> list[tuple[int, str]]:
    """The phrases that the corpus has most often, one for windows that overlap."""
    starts = np.cumsum([0, *(max(0, len(its) - WINDOW + 1) for its in new.units)])
    phrases: Counter[str] = Counter()
    for units, (begin, end) in zip(new.units, pairwise(starts), strict=True):
        for at in range(0, end - begin, WINDOW // 2):
            phrases[" ".join(units[at : at + WINDOW])] = times[int(new.codes[begin + at])]
    return [(count, phrase) for phrase, count in phrases.most_common(_SHOWN)]


def main() -> None:
    language = sys.argv[1]
    words = int(sys.argv[2].replace("_", "")) if len(sys.argv) > 2 else WORDS
    new = fresh(language)
    first, times = met(language, new, words)
    say = sys.stdout.write
    sizes = [size for size in (1, 3, 10, 20, 40, 80) if size * 1_000_000 <= words]
    say(f"{sum(map(len, new.units)) / len(new.units):.0f} units a story\n\n")
    say("| million words | all | closed | open |\n|---|---|---|---|\n")
    for size in sizes:
        row = shares(new, first, size * 1_000_000)
        cells = " | ".join(f"{row.get(k, 0):.1%}" for k in ("all", "closed", "open"))
        say(f"| {size} | {cells} |\n")
    for count, phrase in most_said(new, times):
        say(f"\n{count:8} {phrase}")
    say("\n")


if __name__ == "__main__":
    main()
