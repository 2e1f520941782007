"""Which messages of a long conversation a page begins with: the newest ones. Those before them come
a page at a time, when the reader goes there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from chat.errors import MessageNotFound
from chat.selectors import MessageView

PAGE = 40
"""Messages: some screens full, and less work than what is around them."""
AROUND = 4
"""Messages above the one that the search has found."""


@dataclass(frozen=True, slots=True)
class Window:
    """Messages that follow one another. before: how many there are in front of them."""

    messages: list[MessageView]
    before: int


def newest(messages: list[MessageView], first: uuid.UUID | None = None) -> Window:
    """The last ones; more, where `first` is to be among them. One that is not in this branch asks
    for nothing."""
    at = max(0, len(messages) - PAGE)
    place = _place(messages, first)
    if place is not None:
        at = min(at, max(0, place - AROUND))
    return Window(messages[at:], at)


def before(messages: list[MessageView], following: uuid.UUID) -> Window:
    """The page in front of a message. Raises MessageNotFound."""
    end = _place(messages, following)
    if end is None:
        raise MessageNotFound(following)
    at = max(0, end - PAGE)
    return Window(messages[at:end], at)


def _place(messages: list[MessageView], wanted: uuid.UUID | None) -> int | None:
    return next((n for n, message in enumerate(messages) if message.id == wanted), None)
