"""Writes one imported session: its tree with its times, numbers and ratings, in one transaction.

The session's id follows from its owner and where it comes from, so the same one is taken once.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import live_settings
from chat.imports.shapes import ImportedMessage, ImportedSession, Unreadable, time_of
from chat.models import Feedback, Generation, Message, Session
from chat.search_index import index_new
from chat.services import title_of
from chat.user_keys import as_uuid

ROWS = 200
"""Rows of a statement."""
_TIMES = ("created_at", "finished_at")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "finish_reason": str,
    "prompt_tokens": int,
    "output_tokens": int,
    "cached_tokens": int,
    "timings": dict,
    "deterministic": bool,
    "sampling": dict,
    "fingerprint": dict,
    "engine": dict,
    "context": dict,
    "request": dict,
}


@transaction.atomic
def session_import(
    *, owner_id: uuid.UUID, told: ImportedSession, models: Collection[str]
) -> Session:
    """models: those of this server; a session of another one goes on with the usual one. Raises
    Unreadable, also for one that is here already."""
    session = Session(
        id=uuid.uuid5(as_uuid(owner_id), told.key),
        owner_id=owner_id,
        title=_title(told),
        is_named=True,
        model=told.model if told.model in models else live_settings.value("TINYLLM_DEFAULT_MODEL"),
        pinned=told.pinned and not told.archived,
        archived=told.archived,
        settings=told.settings,
        created_at=told.created_at,
        updated_at=told.updated_at,
    )
    if Session.objects.filter(id=session.id).exists():
        raise Unreadable(_("It was imported before."))
    session.save(force_insert=True)
    rows = _messages(session, told)
    Message.objects.bulk_create(rows.values(), ROWS)
    Generation.objects.bulk_create(
        [
            _generation(session, rows[each.key], numbers)
            for each in told.messages
            for numbers in each.generations
        ],
        ROWS,
    )
    _beside(owner_id, told, rows)
    return session


def _beside(owner_id: uuid.UUID, told: ImportedSession, rows: dict[str, Message]) -> None:
    """Ratings, and what a search finds."""
    Feedback.objects.bulk_create(
        [
            Feedback(
                message=rows[each.key], owner_id=owner_id, value=each.rating, comment=each.comment
            )
            for each in told.messages
            if each.rating and each.role == "assistant"
        ],
        ROWS,
    )
    index_new(rows.values())


def _title(told: ImportedSession) -> str:
    line = " ".join(told.title.split()) or title_of(told.messages[0].text if told.messages else "")
    return line if len(line) <= 200 else line[:199] + "…"


def _messages(session: Session, told: ImportedSession) -> dict[str, Message]:
    rows: dict[str, Message] = {}
    for each in told.messages:
        rows[each.key] = Message(
            session=session,
            parent=rows[each.parent] if each.parent else None,
            role=each.role,
            content=each.text,
            created_at=each.created_at,
            shown_at=_shown_at(each, told),
        )
    return rows


def _shown_at(message: ImportedMessage, told: ImportedSession) -> datetime:
    return timezone.now() if message.key == told.shown else message.created_at


def _generation(session: Session, message: Message, numbers: dict[str, Any]) -> Generation:
    """Its numbers, as far as they are of the right kind. Its token ids are not in an export."""
    given = {name: numbers[name] for name in _KINDS if numbers.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, _KINDS[name]):
            raise Unreadable(
                _("%(name)s of a generation cannot be %(value)s.")
                % {"name": name, "value": repr(value)[:40]}
            )
    status = numbers.get("status")
    seed, error = numbers.get("seed"), numbers.get("error")
    return Generation(
        session=session,
        message=message,
        **given,
        status=status if status in ("DONE", "STOPPED", "FAILED") else "STOPPED",
        seed=seed if isinstance(seed, int) and abs(seed) < 2**63 else None,
        error=error if _is_error(error) else None,
        owner="import",
        request_id="",
        **{name: time_of(numbers.get(name), message.created_at) for name in _TIMES},
    )


def _is_error(error: Any) -> bool:
    names = ("code", "message", "fields", "retryable")
    return isinstance(error, dict) and all(name in error for name in names)
