"""What is imported, whatever it was exported by; and why something is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from chat.errors import MAX_TEXT

MAX_MESSAGES = 20_000
"""Of one conversation."""


class Unreadable(Exception):
    """This entry cannot be taken. Its text says why, in the reader's language."""


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """key and parent: names within the file. generations: as our own export has them."""

    key: str
    parent: str | None
    role: str
    text: str
    created_at: datetime
    generations: list[dict[str, Any]] = field(default_factory=list)
    rating: int = 0
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """key: what tells it from all others of its origin. messages: parents before their children.
    shown: the message at the end of the branch that is shown. left_out: messages that were not
    taken, such as tools' and pictures."""

    key: str
    title: str
    created_at: datetime
    updated_at: datetime
    messages: list[ImportedMessage]
    shown: str | None = None
    model: str = ""
    pinned: bool = False
    archived: bool = False
    settings: dict[str, Any] | None = None
    left_out: int = 0


def text_of(value: Any, name: str, most: int = MAX_TEXT) -> str:
    """What any database can store. Raises Unreadable."""
    if not isinstance(value, str):
        raise Unreadable(_("%(name)s is not text.") % {"name": name})
    if len(value) > most:
        raise Unreadable(
            _("%(name)s is %(length)d characters long; at most %(most)d are read.")
            % {"name": name, "length": len(value), "most": most}
        )
    # Half of a surrogate pair has no place in UTF-8, and NUL none in PostgreSQL.
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def time_of(value: Any, otherwise: datetime) -> datetime:
    """Seconds since 1970, or a time in ISO form with its zone; anything else is `otherwise`."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            return otherwise
    except (ValueError, OverflowError, OSError):
        return otherwise
    return at if at.tzinfo and 1970 <= at.year <= 9000 else otherwise


def parents_first(nodes: dict[str, str | None]) -> list[str]:
    """The keys of a forest, given each one's parent: parents before children, otherwise in the
    order given. A node whose parent is unknown is a root. Raises Unreadable for a circle."""
    if len(nodes) > MAX_MESSAGES:
        raise Unreadable(
            _("It has %(count)d messages; at most %(most)d are read.")
            % {"count": len(nodes), "most": MAX_MESSAGES}
        )
    children: dict[str | None, list[str]] = {}
    for key, parent in nodes.items():
        children.setdefault(parent if parent in nodes else None, []).append(key)
    ordered: list[str] = []
    waiting = children.get(None, [])[::-1]
    while waiting:
        key = waiting.pop()
        ordered.append(key)
        waiting += children.get(key, [])[::-1]
    if len(ordered) != len(nodes):
        raise Unreadable(_("Its messages follow each other in a circle."))
    return ordered
