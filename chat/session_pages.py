"""The list of sessions, page by page. A page reads its own rows and no others, however many there
are before and behind it: it goes on from the last row's place, by one index."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from chat.errors import InvalidRequest
from chat.folders import folder_get
from chat.models import Session, sessions_of

PAGE = 50
MOST = 200
"""Rows of a page that are not pinned."""


def session_page(
    *,
    owner_id: uuid.UUID,
    archived: bool = False,
    folder: str = "",
    before: str = "",
    limit: int = PAGE,
) -> list[Session]:
    """Newest first: all that are pinned, then `limit` others. before: the `position` of the last
    row of the page before; then only others. Fewer than `limit` others: the last page. folder: the
    id of one, whose sessions alone are read.

    Raises InvalidRequest, FolderNotFound.
    """
    if not 1 <= limit <= MOST:
        raise InvalidRequest(
            _("limit must be from 1 to %(most)d, not %(limit)d.") % {"most": MOST, "limit": limit},
            param="limit",
        )
    mine = sessions_of(owner_id)
    if folder:
        mine = mine.filter(folder=folder_get(owner_id=owner_id, folder_id=folder))
    # In a list of one: Django writes `= False` as NOT, for which no index is used.
    rows = mine.filter(archived__in=[archived]).order_by("-updated_at", "-id")
    others = rows.filter(pinned__in=[False])
    if before:
        return list(_behind(others, before)[:limit])
    return [*rows.filter(pinned__in=[True]), *others[:limit]]


def _behind(rows: QuerySet[Session], position: str) -> QuerySet[Session]:
    try:
        time, _mark, name = position.partition("~")
        at, last = datetime.fromisoformat(time), uuid.UUID(name)
        if at.tzinfo is None:
            raise ValueError(time)
    except ValueError:
        raise InvalidRequest(
            _("before must be the position of a session, not %(value)s.")
            % {"value": repr(position[:100])},
            param="before",
        ) from None
    # The first condition is where the index begins to be read, the second passes over equals.
    return rows.filter(updated_at__lte=at).exclude(Q(updated_at=at, id__gte=last))
