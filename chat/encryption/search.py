"""The search where texts are encrypted: they are decrypted and looked through, the newest first,
and nothing is written of it. What is not among the newest is not found, and the page says so."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence

from chat.models import Message, SearchText, Session, sessions_of
from chat.search_index import searched

MOST, MOST_TITLES = 30, 10
"""Found, at most."""
NEWEST = 10_000
"""Messages, and titles, that are looked through."""
ROWS = 250
"""That are decrypted at once."""


def find_titles(owner_id: uuid.UUID, wanted: str) -> list[Session]:
    pattern = re.compile(re.escape(wanted), re.IGNORECASE)
    newest = sessions_of(owner_id).order_by("-updated_at")
    titles = newest.values_list("id", "title")[:NEWEST]
    ids = [id for id, title in titles if pattern.search(title)][:MOST_TITLES]
    found = Session.objects.in_bulk(ids)
    return [found[id] for id in ids if id in found]


def find_messages(owner_id: uuid.UUID, wanted: str) -> list[SearchText]:
    """As if they were of the index, which has none."""
    pattern = re.compile(re.escape(wanted), re.IGNORECASE)
    own = Message.objects.filter(session__owner_id=owner_id, session__deleted_at=None)
    ids = own.order_by("-created_at").values_list("id", flat=True)[:NEWEST]
    found: list[uuid.UUID] = []
    for some in _batches(list(ids)):
        rows = Message.objects.filter(id__in=some).only("session_id", "content", "reads_files")
        texts = {text.message_id: text.text for text in searched(list(rows))}
        found += [id for id in some if id in texts and pattern.search(texts[id])]
        if len(found) >= MOST:
            break
    rows = Message.objects.select_related("session").filter(id__in=found[:MOST])
    return searched(list(rows.order_by("-created_at")))


def _batches(ids: list[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for begin in range(0, len(ids), ROWS):
        yield ids[begin : begin + ROWS]
