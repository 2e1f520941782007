"""Forks: a new session out of a branch."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from chat.accounts.callers import owner_of
from chat.api_v1.edge import MESSAGE, WRITING
from chat.api_v1.schemas import SessionOut
from chat.database import write_database
from chat.forks import session_fork
from chat.session_edits import listed
from chat.signals import announce_edit

router = Router(tags=["sessions"])


@router.post(MESSAGE + "/fork", response={201: SessionOut, **WRITING})
async def fork_session(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID
) -> Status[Any]:
    """A new session with a copy of this branch, up to and with this message."""
    owner = owner_of(request)
    its = {"session_id": session_id, "message_id": message_id}
    session = await write_database(session_fork, owner_id=owner, **its)
    await announce_edit(owner, listed(session))
    return Status(201, session)
