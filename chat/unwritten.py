"""What an answer without a row takes and pays, as `chat.usage` has it for one with a row."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from django.db import DatabaseError
from django.db.transaction import atomic

from chat.database import write_database
from chat.places import places
from chat.usage import Charge, reserve, settle, take_places

_log = structlog.get_logger(__name__)


async def take_place(owner_id: uuid.UUID, answers: int = 1) -> None:
    """To be given back to `chat.places`. Raises TooManyTurns."""
    await write_database(take_places, owner_id=owner_id, answers=answers)


@asynccontextmanager
async def held_places(owner_id: uuid.UUID, answers: int) -> AsyncIterator[None]:
    """Raises TooManyTurns."""
    await take_place(owner_id, answers)
    try:
        yield
    finally:
        places.give(owner_id, answers)


async def reserved(*, owner_id: uuid.UUID, prompt_tokens: int, wanted: int) -> Charge:
    """For an answer that has its place. wanted: tokens that it may have. Raises QuotaExceeded."""
    return await write_database(
        atomic(reserve),
        owner_id=owner_id,
        prompt_tokens=prompt_tokens,
        wanted=wanted,
        has_place=True,
    )


async def paid(charge: Charge, prompt_tokens: int, output_tokens: int) -> None:
    """Never raises: the answer is there, whatever the database does."""
    try:
        await write_database(settle, charge, prompt_tokens, output_tokens)
    except DatabaseError as error:
        _log.error("answer_not_charged", reason=str(error), tokens=output_tokens)
