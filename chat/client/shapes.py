"""The site's objects. Fields that a newer site has beside these are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """last_event, shown, running: only of one that was asked for by itself."""

    id: str
    title: str
    model: str
    pinned: bool
    archived: bool
    created_at: datetime
    updated_at: datetime
    shown: str | None = None
    running: str | None = None
    last_event: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One node of a session's tree. versions: the messages in its place; shown: whether it is in
    the branch that the page shows."""

    id: str
    parent_id: str | None
    role: str
    content: str
    created_at: datetime
    versions: list[str]
    shown: bool
    model: str
    status: str
    finish_reason: str
    seed: int | None
    can_continue: bool
    generations: list[str]


@dataclass(frozen=True, slots=True)
class Hit:
    """What a search found: text before, what was looked for, and text after. message_id: None
    where it is a title."""

    session_id: str
    message_id: str | None
    title: str
    before: str
    match: str
    after: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """next_cursor: asks for the next page; None on the last."""

    data: list[T]
    next_cursor: str | None


def made(kind: type[T], told: Mapping[str, Any]) -> T:
    """An object of this kind from what the site says."""
    values = {each.name: told[each.name] for each in fields(kind) if each.name in told}  # type: ignore[arg-type]
    for name in ("created_at", "updated_at"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    return kind(**values)
