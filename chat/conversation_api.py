"""REST for what a person does with a conversation besides talking; a part of `chat.api`."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from chat.database import write_database
from chat.feedback import feedback_give, feedback_take_back
from chat.forks import session_fork
from chat.schemas import ErrorOut, SessionOut
from chat.session_edits import listed
from chat.signals import announce_edit

REFUSALS = dict.fromkeys((400, 401, 404, 409, 413, 415, 500, 503), ErrorOut)

MESSAGE = "/sessions/{session_id}/messages/{message_id}"

router = Router()


def owner_of(request: HttpRequest) -> uuid.UUID:
    owner: uuid.UUID = request.auth  # type: ignore[attr-defined]
    return owner


class RatingIn(Schema):
    value: int = Field(description="1: a good answer; -1: a bad one.")
    comment: str = Field("", description="Why; at most 4,000 characters.")


class RatingOut(RatingIn):
    pass


@router.put(MESSAGE + "/rating", response={200: RatingOut, **REFUSALS})
async def rate(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID, body: RatingIn
) -> Any:
    """Rate an answer, in place of an earlier rating."""
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    return await write_database(feedback_give, **its, value=body.value, comment=body.comment)


@router.delete(MESSAGE + "/rating", response={204: None, **REFUSALS})
async def take_rating_back(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID
) -> Status[None]:
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    await write_database(feedback_take_back, **its)
    return Status(204, None)


@router.post(MESSAGE + "/fork", response={201: SessionOut, **REFUSALS})
async def fork(request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID) -> Status[Any]:
    """A new session with a copy of this branch, up to and with this message."""
    owner = owner_of(request)
    its = {"session_id": session_id, "message_id": message_id}
    session = await write_database(session_fork, owner_id=owner, **its)
    await announce_edit(owner, listed(session))
    return Status(201, session)
