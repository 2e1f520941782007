"""Which passages have most to do with a question."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

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
