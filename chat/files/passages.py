"""A text cut into passages: along its pages and rows, its paragraphs, its sentences. In Chinese
those end without a space."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WEIGHT = 300.0
"""Of a passage, about what a tokenizer makes of it: a word, or a Chinese character, is one."""
_LATIN = 0.25  # of a character: a token has about four
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003fffd"
_WIDE = re.compile(f"[{_UNSPACED}]")
# From the coarsest to the finest: an end of a paragraph, of a line, of a sentence, of a word.
_ENDS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?])\s+|(?<=[。！？；…])"),
    re.compile(r"\s+|(?<=[，、,;])"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """text[start:end]. place: where in the file that is, as in `chat.reading.result.Place`."""

    start: int
    end: int
    place: dict[str, Any]


def cut(text: str, places: Sequence[dict[str, Any]]) -> list[Span]:
    """All of the text in order, but for the space between. places: {start, at}, in order."""
    where, cutter = _Places(text, places), _Cutter(text)
    spans: list[Span] = []
    for start, end in pairwise(_bounds(places, len(text))):
        for first, last in cutter.passages(start, end):
            stripped = text[first:last].strip()
            if stripped:
                first += text[first:last].index(stripped)
                spans.append(Span(first, first + len(stripped), where.at(first)))
    return spans


def _bounds(places: Sequence[dict[str, Any]], length: int) -> list[int]:
    """Where no passage goes on: at the end of a page, and of a sheet."""
    bounds, sheet = {0, length}, None
    for place in places:
        at = place["at"]
        if "page" in at or at.get("sheet") != sheet:
            bounds.add(place["start"])
        sheet = at.get("sheet")
    return sorted(bounds)


class _Cutter:
    def __init__(self, text: str) -> None:
        self._text = text
        self._wide = [match.start() for match in _WIDE.finditer(text)]

    def weight(self, start: int, end: int) -> float:
        wide = bisect_left(self._wide, end) - bisect_left(self._wide, start)
        return wide + (end - start - wide) * _LATIN

    def passages(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Neighbouring pieces together, as many as make a passage."""
        begun = start
        reached = start
        for first, last in self._pieces(start, end, 0):
            if reached > begun and self.weight(begun, last) > WEIGHT:
                yield begun, reached
                begun = first
            reached = last
        if reached > begun:
            yield begun, reached

    def _pieces(self, start: int, end: int, level: int) -> Iterator[tuple[int, int]]:
        """Parts that are small enough, cut as coarsely as that allows."""
        if self.weight(start, end) <= WEIGHT:
            yield start, end
            return
        if level == len(_ENDS):
            step = int(WEIGHT)
            yield from ((at, min(at + step, end)) for at in range(start, end, step))
            return
        at = start
        for match in _ENDS[level].finditer(self._text, start, end):
            if match.end() > at:
                yield from self._pieces(at, match.end(), level + 1)
                at = match.end()
        if at < end:
            yield from self._pieces(at, end, level + 1)


class _Places:
    """Where characters are, asked for in order."""

    def __init__(self, text: str, places: Sequence[dict[str, Any]]) -> None:
        self._text = text
        self._places = places
        self._starts = [place["start"] for place in places]
        self._counted = (0, 0, -1)  # up to this character so many lines, from this place on

    def at(self, position: int) -> dict[str, Any]:
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return {}
        at: dict[str, Any] = dict(self._places[index]["at"])
        for unit in ("row", "line"):
            if unit in at:
                at[unit] += self._lines(index, position)
        return at

    def _lines(self, index: int, position: int) -> int:
        """Ends of lines between a place and a position."""
        counted, lines, place = self._counted
        if place != index:
            counted, lines = self._starts[index], 0
        lines += self._text.count("\n", counted, position)
        self._counted = (position, lines, index)
        return lines
