"""Our own export (`chat.export`), of any version that this server knows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import ChatError
from chat.export import SCHEMA, VERSION
from chat.imports.shapes import (
    ImportedMessage,
    ImportedSession,
    Unreadable,
    parents_first,
    text_of,
    time_of,
)
from chat.session_settings.values import checked
from inference.errors import EngineError

_TICK = timedelta(microseconds=1)


def is_ours(told: dict[str, Any]) -> bool:
    return told.get("schema") == SCHEMA


def read(told: dict[str, Any]) -> ImportedSession:
    """Raises Unreadable."""
    if told.get("version") != VERSION:
        raise Unreadable(
            _("It is of version %(given)s; this server reads version %(known)d.")
            % {"given": repr(told.get("version"))[:20], "known": VERSION}
        )
    head, rows = told.get("session"), told.get("messages")
    if not isinstance(head, dict) or not _are_objects(rows):
        raise Unreadable(_("It has no session or no messages."))
    assert isinstance(rows, list)
    by_key = {text_of(row.get("id"), "id", 64): row for row in rows}
    parents = {key: _known(row.get("parent_id"), by_key) for key, row in by_key.items()}
    created_at = time_of(head.get("created_at"), timezone.now())
    times = _times(by_key, created_at)
    return ImportedSession(
        key=f"{SCHEMA}:{text_of(head.get('id'), 'id', 64)}",
        title=text_of(head.get("title"), "title"),
        created_at=created_at,
        updated_at=time_of(head.get("updated_at"), created_at),
        messages=[_message(key, by_key, times[key]) for key in parents_first(parents)],
        shown=_known(told.get("shown"), by_key),
        model=text_of(head.get("model"), "model", 200),
        pinned=head.get("pinned") is True,
        archived=head.get("archived") is True,
        settings=_settings(head.get("settings")),
    )


def _settings(told: Any) -> dict[str, Any] | None:
    if not isinstance(told, dict):
        return None
    try:
        return checked(told)
    except (ChatError, EngineError) as error:
        raise Unreadable(error.message) from None


def _times(by_key: dict[str, dict[str, Any]], began: datetime) -> dict[str, datetime]:
    """Of each message. The file has them from the oldest on, to the millisecond: those that seem to
    be of one moment keep their order."""
    times: dict[str, datetime] = {}
    last = began - _TICK
    for key, row in by_key.items():
        last = times[key] = max(time_of(row.get("created_at"), began), last + _TICK)
    return times


def _message(key: str, by_key: dict[str, dict[str, Any]], at: datetime) -> ImportedMessage:
    row = by_key[key]
    role = row.get("role")
    if role not in ("user", "assistant"):
        raise Unreadable(
            _("A message is of the role %(role)s.") % {"role": repr(role)[:40]},
        )
    generations = row.get("generations", [])
    if not _are_objects(generations):
        raise Unreadable(_("The generations of a message are not a list of objects."))
    rating = row.get("rating", 0)
    return ImportedMessage(
        key=key,
        parent=_known(row.get("parent_id"), by_key),
        role=role,
        text=text_of(row.get("content"), "content"),
        created_at=at,
        generations=generations,
        rating=rating if rating in (-1, 1) else 0,
        comment=text_of(row.get("comment", ""), "comment"),
    )


def _known(key: Any, by_key: dict[str, dict[str, Any]]) -> str | None:
    return key if isinstance(key, str) and key in by_key else None


def _are_objects(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
