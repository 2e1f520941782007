"""What is asked of a reader of files, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """pages: of a PDF. characters: of the text in a file."""

    pages: int
    characters: int


@dataclass(frozen=True, slots=True)
class Place:
    """From the character `start` on, text is from there: {"page": 3}, {"sheet": "Costs", "row": 1}
    or, where lines are counted, {"line": 1}. Rows and lines go on with every line of the text."""

    start: int
    at: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """encoding: what the bytes were decoded as, where that had to be found out."""

    kind: str
    text: str
    places: list[Place] = field(default_factory=list)
    encoding: str = ""


class Refused(Exception):
    """A file is not read. code: see `chat.files.errors`, which has the words."""

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code, fields)
        self.code = code
        self.fields = fields


class Text:
    """Text that is put together piece by piece, and refused as soon as it is too long."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.characters
        self._parts: list[str] = []
        self.length = 0
        self.places: list[Place] = []

    def add(self, text: str) -> None:
        """Raises Refused."""
        self.length += len(text)
        if self.length > self._limit:
            raise Refused("too_many_characters", limit=self._limit)
        self._parts.append(text)

    def at(self, **place: Any) -> None:
        self.places.append(Place(self.length, place))

    def read(self, kind: str, encoding: str = "") -> Reading:
        """Raises Refused where there is nothing to read."""
        # PostgreSQL takes no NUL, and nothing takes half of a surrogate pair.
        text = "".join(self._parts).replace("\0", "\N{REPLACEMENT CHARACTER}")
        text = text.encode("utf-8", "replace").decode()
        if not text.strip():
            raise Refused("no_text")
        return Reading(kind, text, self.places, encoding)
