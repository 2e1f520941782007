"""Usage: the caller's own."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from chat.accounts.callers import owner_of
from chat.api_v1.edge import READING
from chat.database import in_database
from chat.schemas import UsageOfDaysOut
from chat.usage import usage_of

router = Router(tags=["usage"])


@router.get("/usage", response={200: UsageOfDaysOut, **READING})
async def read_usage(request: HttpRequest) -> Any:
    """What the caller has used, today and in the last days, and may use."""
    return await in_database(usage_of, owner_id=owner_of(request))
