"""Which passages have most to do with a question."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

FUSED_FROM = 60
"""Of the paper: how little the first places are before the next ones."""

_UNSPACED = "\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003fffd"
_WORDS = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])\w)+")
_EVERYWHERE = (
    "a an and are as at be by do does for from has have how i in is it of on or that the this to "
    "was were what when where which who why will with you"
)
_UNTELLING = frozenset(_EVERYWHERE.split())


class Ranker(Protocol):
    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """Of each passage, how much it has to do with the question; 0: nothing."""
        ...


class FusedRanker:
    """By several orders at once, joined by reciprocal rank (Cormack et al., 2009): scores of
    different kinds cannot be added."""

    def __init__(self, *rankers: Ranker) -> None:
        self._rankers = rankers

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        ranks = [reciprocal_ranks(each.scores(question, passages)) for each in self._rankers]
        return [sum(each) for each in zip(*ranks, strict=True)]


def reciprocal_ranks(scores: Sequence[float]) -> list[float]:
    """What has no score gets none; of equals the first one is before the others."""
    found = [0.0] * len(scores)
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    for rank, index in enumerate(order, 1):
        if scores[index] > 0:
            found[index] = 1 / (FUSED_FROM + rank)
    return found


class VectorRanker:
    """By the cosine between their vectors and the question's, all of length 1. vectors: of
    passages, by their text; others score nothing. encode: of a question; None where it has no
    vector."""

    def __init__(
        self, vectors: Mapping[str, Vector], encode: Callable[[str], Vector | None]
    ) -> None:
        self._vectors, self._encode = vectors, encode

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        asked = self._encode(question) if any(each in self._vectors for each in passages) else None
        if asked is None:
            return [0.0] * len(passages)
        # above zero, however far they point apart
        return [
            2 + float(self._vectors[each] @ asked) if each in self._vectors else 0.0
            for each in passages
        ]


class Bm25Ranker:
    """By the words that they share, rare ones first. Where words are written without spaces, pairs
    of neighbouring characters stand for them."""

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        import bm25s  # when it is first needed: it takes a while, and loads a compiler along

        logging.getLogger("bm25s").setLevel(logging.WARNING)
        asked = words(question)
        wanted = set(asked)
        # All other words count for the length alone, and need no place in the index.
        texts = [[w if w in wanted else "" for w in words(passage)] for passage in passages]
        if not asked or not any(texts):
            return [0.0] * len(texts)
        index = bm25s.BM25(method="lucene")
        index.index(texts, show_progress=False)
        return [float(score) for score in index.get_scores(asked)]


def words(text: str) -> list[str]:
    found: list[str] = []
    for run in _WORDS.findall(text.lower()):
        if not re.match(f"[{_UNSPACED}]", run):
            if run not in _UNTELLING:
                found.append(run)
        elif len(run) == 1:
            found.append(run)
        else:
            found += (first + second for first, second in pairwise(run))
    return found
