"""What a person does to a session in the list: name it, pin it, put it away, delete it with a way
back. The server keeps the way back, so it survives a closed page: what nobody takes back is
deleted all the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import engine
from chat.database import write_database
from chat.errors import InvalidRequest, SessionNotFound, check_unicode
from chat.folders import folder_get
from chat.generation import turns
from chat.models import Session
from chat.rows import insert
from chat.session_settings.presets import default_settings
from chat.session_settings.values import checked
from chat.signals import announce, announce_edit
from inference.errors import ModelNotFound

WAY_BACK = timedelta(seconds=30)
"""How long a deleted session can be brought back. The page offers it for a shorter time."""
MAX_TITLE = 200

_log = structlog.get_logger(__name__)

_purges: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Edit:
    """What is None stays as it is. folder: the id of one, or "" for none."""

    title: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    deleted: bool | None = None
    folder: str | None = None


async def create(
    *,
    owner_id: uuid.UUID,
    model: str,
    title: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Session:
    """A session in which nothing is said yet. Raises ModelNotFound, InvalidRequest."""
    known = sorted(info.name for info in engine.client().models())
    if model not in known:
        raise ModelNotFound(model, known)
    session = await write_database(
        session_create, owner_id=owner_id, model=model, title=title, settings=settings
    )
    await announce_edit(owner_id, listed(session))
    return session


@transaction.atomic
def session_create(
    *, owner_id: uuid.UUID, model: str, title: str | None, settings: Mapping[str, Any] | None
) -> Session:
    """title None: that of its first message. settings None: of the owner's default preset. Raises
    InvalidRequest."""
    named = None if title is None else _checked(title)
    own = default_settings(owner_id=owner_id) if settings is None else checked(settings)
    session = Session(
        owner_id=owner_id, model=model, title=named or "", is_named=bool(named), settings=own
    )
    insert(session)
    return session


async def edit(*, owner_id: uuid.UUID, session_id: uuid.UUID, changes: Edit) -> Session:
    """Change the row and tell all pages of its owner. A session that is deleted has its live turn
    ended first. Raises SessionNotFound, InvalidRequest."""
    if changes.deleted:
        turn = await turns().stop(owner_id=owner_id, session_id=session_id)
        if turn is not None:
            await turn.wait_end()
    session = await write_database(
        session_edit, owner_id=owner_id, session_id=session_id, changes=changes
    )
    await announce_edit(owner_id, listed(session))
    if changes.deleted:
        purge = asyncio.create_task(_purge_later())
        _purges.add(purge)
        purge.add_done_callback(_purges.discard)
    return session


@transaction.atomic
def session_edit(*, owner_id: uuid.UUID, session_id: uuid.UUID, changes: Edit) -> Session:
    """Raises SessionNotFound, FolderNotFound, InvalidRequest."""
    mine = Session.objects.select_for_update().filter(id=session_id, owner_id=owner_id)
    if changes.deleted is not False:
        mine = mine.filter(deleted_at=None)
    session = mine.first()
    if session is None:
        raise SessionNotFound(session_id)
    if changes.title is not None:
        session.title, session.is_named = _checked(changes.title), True
    if changes.archived is not None:
        session.archived = changes.archived
        session.pinned = session.pinned and not changes.archived
    if changes.pinned is not None:
        session.pinned = changes.pinned
        session.archived = session.archived and not changes.pinned
    if changes.deleted is not None:
        session.deleted_at = timezone.now() if changes.deleted else None
    if changes.folder is not None:
        known = changes.folder and folder_get(owner_id=owner_id, folder_id=changes.folder)
        session.folder = known or None
    session.save(update_fields=["title", "is_named", "pinned", "archived", "deleted_at", "folder"])
    return session


def _checked(title: str) -> str:
    """On one line. Raises InvalidRequest."""
    check_unicode("title", title)
    line = " ".join(title.split())
    if not 1 <= len(line) <= MAX_TITLE:
        raise InvalidRequest(
            _("A title has 1 to %(most)d characters, not %(length)d.")
            % {"most": MAX_TITLE, "length": len(line)},
            param="title",
        )
    return line


def listed(session: Session) -> dict[str, Any]:
    """A session as the list on a page knows it."""
    return {
        "id": str(session.id),
        "title": session.title,
        "model": session.model,
        "pinned": session.pinned,
        "archived": session.archived,
        "deleted": session.deleted,
        "folder_id": str(session.folder_id) if session.folder_id else None,
        "updated_at": session.updated_at.isoformat(),
        "position": session.position,
    }


async def purge_deleted() -> None:
    """Delete the rows of all sessions whose way back has ended."""
    try:
        gone = await write_database(sessions_purge)
    except DatabaseError as error:
        _log.warning("purge_failed", reason=str(error))  # the next one finds them
        return
    for session_id in gone:
        await announce(session_id)


@transaction.atomic
def sessions_purge() -> list[uuid.UUID]:
    """Returns the sessions that are gone."""
    due = Session.objects.filter(deleted_at__lte=timezone.now() - WAY_BACK)
    ids = list(due.select_for_update().values_list("id", flat=True))
    Session.objects.filter(id__in=ids).delete()
    return ids


async def _purge_later() -> None:
    await asyncio.sleep(WAY_BACK.total_seconds())
    await purge_deleted()
