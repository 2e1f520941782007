"""Generations: the record of what wrote an answer."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from chat.accounts.callers import owner_of
from chat.api_v1.edge import ONE
from chat.api_v1.schemas import GenerationOut
from chat.database import in_database
from chat.error_words import retold
from chat.records import generation_get

router = Router(tags=["generations"])


@router.get("/generations/{generation_id}", response={200: GenerationOut, **ONE})
async def read_generation(request: HttpRequest, generation_id: uuid.UUID) -> Any:
    """With what an answer was written, how long it took, and how it ended."""
    its = {"owner_id": owner_of(request), "generation_id": generation_id}
    row = await in_database(generation_get, **its)
    told = {name: getattr(row, name) for name in GenerationOut.model_fields if name != "usage"}
    counts = ("prompt_tokens", "output_tokens", "cached_tokens")
    return {
        **told,
        "usage": {name: getattr(row, name) for name in counts},
        "error": retold(row.error),
    }
