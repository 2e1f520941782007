"""Share links: made, listed, revoked."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from chat.accounts.callers import owner_of
from chat.api_v1.edge import ONE, READING, SESSION, WRITING
from chat.api_v1.schemas import SharesOut
from chat.conversation_api import SharedOut, ShareIn, link_to
from chat.database import in_database, write_database
from chat.share_links import share_link_revoke, share_links_of

router = Router(tags=["shares"])


@router.post(SESSION + "/shares", response={201: SharedOut, **WRITING})
async def share_session(request: HttpRequest, session_id: uuid.UUID, body: ShareIn) -> Status[Any]:
    """A link that shows the branch that is shown, as it is now, to whoever has it."""
    return Status(201, await link_to(owner_of(request), session_id, body))


@router.get("/shares", response={200: SharesOut, **READING})
async def list_shares(request: HttpRequest) -> Any:
    """The caller's links that work, newest first, without pages."""
    owner = owner_of(request)
    return {"data": await in_database(lambda: list(share_links_of(owner_id=owner)))}


@router.delete("/shares/{link_id}", response={204: None, **ONE})
async def revoke_share(request: HttpRequest, link_id: uuid.UUID) -> Status[None]:
    """From now on it shows nothing."""
    await write_database(share_link_revoke, owner_id=owner_of(request), link_id=link_id)
    return Status(204, None)
