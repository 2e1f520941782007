"""Feedback: what a person thinks of an answer."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from chat.accounts.callers import owner_of
from chat.api_v1.edge import MESSAGE, WRITING
from chat.conversation_api import RatingIn, RatingOut
from chat.database import write_database
from chat.feedback import feedback_give, feedback_take_back

router = Router(tags=["feedback"])


@router.put(MESSAGE + "/rating", response={200: RatingOut, **WRITING})
async def rate_message(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID, body: RatingIn
) -> Any:
    """Rate an answer, in place of an earlier rating. It is read with its message."""
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    return await write_database(feedback_give, **its, value=body.value, comment=body.comment)


@router.delete(MESSAGE + "/rating", response={204: None, **WRITING})
async def take_rating_back(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID
) -> Status[None]:
    """Nothing happens where there is none."""
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    await write_database(feedback_take_back, **its)
    return Status(204, None)
