"""What a filter is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Match:
    """text[start:end] may not stay. replacement: what stands there instead; None: nothing can."""

    start: int
    end: int
    replacement: str | None


class ContentFilter(Protocol):
    """Called on the event loop for every delta of every answer: keep it in microseconds."""

    def find(self, text: str) -> list[Match]:
        """Every match, from left to right, none overlapping another."""

    def undecided(self, text: str) -> int:
        """How many characters at the end of `text` more text could make part of a match, or part of
        a longer one: an answer that arrives in pieces shows them when more of it is there."""
