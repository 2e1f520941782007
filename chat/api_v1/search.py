"""Search in titles and messages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query

from chat.accounts.callers import owner_of
from chat.api_v1.edge import READING
from chat.api_v1.schemas import HitsOut
from chat.database import in_database
from chat.search import MAX_QUERY, search

router = Router(tags=["search"])


@router.get("/search", response={200: HitsOut, **READING})
async def search_text(
    request: HttpRequest, q: str = Query(min_length=1, max_length=MAX_QUERY)
) -> Any:
    """Titles and messages of the caller's sessions that have this text in them, newest first: at
    most 10 titles and 30 messages, without pages."""
    return {"data": await in_database(search, owner_id=owner_of(request), query=q)}
