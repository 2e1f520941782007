"""Sessions: listed, made, read, changed, deleted; the branch that is shown; their settings."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Status
from ninja.params.functions import Query

from chat import sampling, selectors
from chat.accounts.callers import owner_of
from chat.api_v1.edge import ONE, SESSION, WRITING
from chat.api_v1.schemas import (
    CURSOR,
    SessionEditedOut,
    SessionIn,
    SessionOut,
    SessionsOut,
    SessionStateOut,
)
from chat.database import in_database, write_database
from chat.errors import InvalidRequest
from chat.generation import turns
from chat.models import Session
from chat.records import answer_running
from chat.schemas import BranchIn, EditIn
from chat.session_edits import Edit, create, edit
from chat.session_pages import session_page
from chat.session_settings.presets import settings_save
from chat.session_settings.schemas import SessionSettingsOut, SettingsIn
from chat.submission import default_sampling

router = Router(tags=["sessions"])


@router.get("/sessions", response={200: SessionsOut, **ONE})
async def list_sessions(
    request: HttpRequest,
    limit: int = Query(50, ge=1, le=100),
    cursor: str = Query("", description=CURSOR),
    archived: bool = False,
    folder: str = Query("", description="The id of a folder, whose sessions alone are listed."),
) -> Any:
    """The one used last first. The first page begins with all that are pinned, whatever the
    limit; archived ones are listed apart."""
    try:
        rows = await in_database(
            session_page,
            owner_id=owner_of(request),
            archived=archived,
            folder=folder,
            before=cursor,
            limit=limit + 1,
        )
    except InvalidRequest as error:
        if error.fields.get("param") != "before":
            raise
        told = _("cursor must be the next_cursor of a page of this list, not %(value)s.")
        raise InvalidRequest(told % {"value": repr(cursor[:100])}, param="cursor") from None
    others = [row for row in rows if cursor or not row.pinned]
    if len(others) <= limit:
        return {"data": rows, "next_cursor": None}
    return {"data": rows[:-1], "next_cursor": rows[-2].position}


@router.post("/sessions", response={201: SessionStateOut, **WRITING})
async def create_session(request: HttpRequest, body: SessionIn) -> Status[Any]:
    """A session in which nothing is said yet."""
    session = await create(owner_id=owner_of(request), **body.model_dump())
    return Status(201, _state(session, None, None))


@router.get(SESSION, response={200: SessionStateOut, **ONE})
async def read_session(request: HttpRequest, session_id: uuid.UUID) -> Any:
    """Without its messages."""
    return await in_database(_read, owner_of(request), session_id)


@router.patch(SESSION, response={200: SessionEditedOut, **WRITING})
async def change_session(request: HttpRequest, session_id: uuid.UUID, body: EditIn) -> Any:
    """Rename, pin, archive, put into a folder, or delete with a way back. All pages of the owner
    are told."""
    changes = Edit(**body.model_dump())
    return await edit(owner_id=owner_of(request), session_id=session_id, changes=changes)


@router.delete(SESSION, response={204: None, **WRITING})
async def delete_session(request: HttpRequest, session_id: uuid.UUID) -> Status[None]:
    """Delete a session and all its messages, at once. An answer that is being written is stopped
    first."""
    await turns().delete(owner_id=owner_of(request), session_id=session_id)
    return Status(204, None)


@router.put(SESSION + "/branch", response={200: SessionStateOut, **WRITING})
async def show_branch(request: HttpRequest, session_id: uuid.UUID, body: BranchIn) -> Any:
    """Show another branch: the one through this message that was shown last. A message without a
    `parent_id` goes on with it, and open pages follow."""
    owner = owner_of(request)
    await turns().show(owner_id=owner, session_id=session_id, message_id=body.message_id)
    return await in_database(_read, owner, session_id)


@router.get(SESSION + "/settings", response={200: SessionSettingsOut, **ONE})
async def read_settings(request: HttpRequest, session_id: uuid.UUID) -> Any:
    """What was chosen for this session, and the model's defaults for the rest."""
    return await _settings(owner_of(request), session_id)


@router.put(SESSION + "/settings", response={200: SessionSettingsOut, **WRITING})
async def save_settings(request: HttpRequest, session_id: uuid.UUID, body: SettingsIn) -> Any:
    """All settings of the session, in place of those it had. They hold from the next answer on."""
    its = {"owner_id": owner_of(request), "session_id": session_id}
    await write_database(settings_save, **its, settings=body.settings)
    return await _settings(its["owner_id"], session_id)


def _read(owner: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    session = selectors.session_get(owner_id=owner, session_id=session_id)
    _last, shown = selectors.session_position(owner_id=owner, session_id=session_id)
    return _state(session, shown, answer_running(session_id=session_id))


def _state(session: Session, shown: uuid.UUID | None, running: uuid.UUID | None) -> dict[str, Any]:
    its = {name: getattr(session, name) for name in SessionOut.model_fields}
    return {**its, "shown": shown, "running": running, "last_event": session.last_seq}


async def _settings(owner: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    found = await in_database(selectors.session_get, owner_id=owner, session_id=session_id)
    defaults = sampling.as_json(default_sampling(found.model))
    return {"model": found.model, "settings": found.settings or {}, "defaults": defaults}
