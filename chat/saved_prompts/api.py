"""REST for the list that `/` opens."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from chat.accounts.callers import owner_of
from chat.database import in_database
from chat.models import SavedPrompt
from chat.saved_prompts.store import offered
from chat.schemas import ErrorOut

router = Router()


class PromptOut(Schema):
    id: uuid.UUID
    name: str
    text: str
    shared: bool = Field(description="It is the site's, for everybody, and not the caller's own.")

    @staticmethod
    def resolve_shared(prompt: SavedPrompt) -> bool:
        return prompt.owner_id is None


@router.get("/prompts", response={200: list[PromptOut], 401: ErrorOut})
async def prompts(request: HttpRequest) -> Any:
    """What the caller may use, by name."""
    return await in_database(offered, owner_id=owner_of(request))
