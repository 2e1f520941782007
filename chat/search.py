"""Finds text in a person's own sessions: in titles and in messages, the newest first.

Three characters and more are looked up in an index of trigrams. One and two (a Chinese word often
has no more) are looked for in the newest messages, which finds what is common, and from there on
in the index again: two line feeds behind every text make each of its characters begin a trigram.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from chat.encryption import keys
from chat.encryption.search import MOST, MOST_TITLES, find_messages, find_titles
from chat.errors import InvalidRequest, check_unicode
from chat.models import SearchText, Session, sessions_of
from chat.user_keys import in_sql

MAX_QUERY = 200
NEWEST = 3000
"""Messages that are read for one or two characters before the index is asked."""
BEFORE, AFTER = 30, 90
"""Characters of an excerpt around what was found."""

_FOUND = """
    SELECT text.id FROM chat_search AS found
    CROSS JOIN chat_searchtext AS text ON text.id = found.rowid
    CROSS JOIN chat_session AS session ON session.id = text.session_id
    WHERE chat_search MATCH %s AND session.owner_id = %s AND session.deleted_at IS NULL
    ORDER BY found.rowid DESC LIMIT %s
"""
_NEWEST = """
    SELECT text.id FROM chat_searchtext AS text
    CROSS JOIN chat_session AS session ON session.id = text.session_id
    WHERE text.id >= %s AND instr(lower(text.text), lower(%s)) > 0
    AND session.owner_id = %s AND session.deleted_at IS NULL
    ORDER BY text.id DESC LIMIT %s
"""
_BEGINNING = """
    SELECT DISTINCT term.doc FROM chat_search_terms AS term
    CROSS JOIN chat_searchtext AS text ON text.id = term.doc
    CROSS JOIN chat_session AS session ON session.id = text.session_id
    WHERE term.term >= %s AND term.term < %s AND term.doc < %s
    AND session.owner_id = %s AND session.deleted_at IS NULL
    ORDER BY term.doc DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A title (message_id None) or a message with what was found in it, as plain text."""

    session_id: uuid.UUID
    title: str
    archived: bool
    message_id: uuid.UUID | None
    role: str
    at: datetime
    before: str
    match: str
    after: str


def search(*, owner_id: uuid.UUID, query: str) -> list[Hit]:
    """Titles, then messages. Raises InvalidRequest."""
    wanted = query.replace("\x00", "").strip()
    check_unicode("q", wanted)
    if not 1 <= len(wanted) <= MAX_QUERY:
        raise InvalidRequest(
            _("q must have 1 to %(most)d characters, not %(length)d.")
            % {"most": MAX_QUERY, "length": len(wanted)},
            param="q",
        )
    if keys.is_on():
        titles, rows = find_titles(owner_id, wanted), find_messages(owner_id, wanted)
    else:
        named = sessions_of(owner_id).filter(title__icontains=wanted).order_by("-updated_at")
        titles = list(named[:MOST_TITLES])
        rows = list(_messages(owner_id, wanted).order_by("-id")[:MOST])
    return [
        *(_title_hit(session, wanted) for session in titles),
        *(_message_hit(row, wanted) for row in rows),
    ]


def _messages(owner_id: uuid.UUID, wanted: str) -> QuerySet[SearchText]:
    found = SearchText.objects.select_related("session", "message")
    own = found.filter(session__owner_id=owner_id, session__deleted_at=None)
    if connection.vendor != "sqlite":
        return own.filter(text__icontains=wanted)
    if len(wanted) >= 3:
        quoted = wanted.replace('"', '""')
        ids = _ids(_FOUND, f'"{quoted}"', in_sql(owner_id), MOST)
    else:
        ids = _short(owner_id, wanted)
    return found.filter(id__in=ids)


def _short(owner_id: uuid.UUID, wanted: str) -> list[int]:
    # Of everybody's: whose they are is only asked of those few.
    everyone = SearchText.objects.order_by("-id").values_list("id", flat=True)
    oldest = everyone[NEWEST - 1 : NEWEST].first() or 0
    found = _ids(_NEWEST, oldest, wanted, in_sql(owner_id), MOST)
    if len(found) == MOST or not oldest:
        return found
    first = wanted.lower()
    return found + _ids(
        _BEGINNING, first, first + chr(0x10FFFF), oldest, in_sql(owner_id), MOST - len(found)
    )


def _ids(statement: str, *values: str | int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(values))
        return [row[0] for row in cursor.fetchall()]


def _title_hit(session: Session, wanted: str) -> Hit:
    where = (session.id, session.title, session.archived, None, "", session.updated_at)
    return Hit(*where, *_excerpt(session.title, wanted))


def _message_hit(row: SearchText, wanted: str) -> Hit:
    session, message = row.session, row.message
    where = (session.id, session.title, session.archived, message.id, message.role)
    return Hit(*where, message.created_at, *_excerpt(row.text, wanted))


def _excerpt(text: str, wanted: str) -> tuple[str, str, str]:
    """The text before what was found, that itself, and the text after, each on one line."""
    found = re.search(re.escape(wanted), text, re.IGNORECASE)
    start, end = found.span() if found else (0, 0)
    before = text[max(0, start - BEFORE) : start].lstrip() if start else ""
    after = text[end : end + AFTER]
    before = ("…" if start > BEFORE else "") + before
    after += "…" if end + AFTER < len(text) else ""
    return _line(before), _line(text[start:end]), _line(after)


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
