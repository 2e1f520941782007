"""Messages that were said before they came here: kept in front of the one that they came with."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from chat.models import Message, SearchText, Session
from chat.rows import insert


def keep_history(
    *, session: Session, parent_id: uuid.UUID | None, said: Sequence[dict[str, str]]
) -> uuid.UUID | None:
    """Write `said`, [{role, content}, ...], one below the other, the first one below `parent_id`;
    a search finds them. Returns the last one's id. Within the transaction that writes the turn."""
    rows: list[Message] = []
    for each in said:
        rows.append(Message(session=session, parent_id=parent_id, **each))
        parent_id = rows[-1].id
    if rows:
        insert(*rows)
        SearchText.objects.bulk_create(
            SearchText(session=session, message=row, text=row.content)
            for row in rows
            if row.content
        )
    return parent_id
