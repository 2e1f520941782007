"""REST for what a person does with a conversation besides talking; a part of `chat.api`."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status
from pydantic import Field

from chat import engine, selectors
from chat.accounts.callers import owner_of
from chat.database import in_database, write_database
from chat.feedback import feedback_give, feedback_take_back
from chat.folders import folder_create, folder_delete, folder_rename, folders_of
from chat.forks import session_fork
from chat.schemas import ErrorOut, SessionOut
from chat.session_edits import listed
from chat.share_links import share_link_create, share_link_revoke, share_links_of
from chat.signals import announce_edit
from inference.types import ModelKind

REFUSALS = dict.fromkeys((400, 401, 404, 409, 413, 415, 500, 503), ErrorOut)

MESSAGE = "/sessions/{session_id}/messages/{message_id}"

router = Router()


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


class ShareIn(Schema):
    days: int | None = Field(7, description="After how many days it ends, 1 to 365; null: never.")
    author: str = Field("", description="A name to show; empty: none is shown.")


class ShareOut(Schema):
    id: uuid.UUID
    session_id: uuid.UUID
    title: str
    author: str
    created_at: datetime
    expires_at: datetime | None


class SharedOut(ShareOut):
    path: str = Field(description="Where the link leads. It is told this once.")


@router.post("/sessions/{session_id}/shares", response={201: SharedOut, **REFUSALS})
async def share(request: HttpRequest, session_id: uuid.UUID, body: ShareIn) -> Status[Any]:
    """A link that shows the branch that is shown, as it is now, to whoever has it."""
    return Status(201, await link_to(owner_of(request), session_id, body))


async def link_to(owner: uuid.UUID, session_id: uuid.UUID, body: ShareIn) -> dict[str, Any]:
    """A new link as its owner is told of it. Raises SessionNotFound, InvalidRequest."""
    session = await in_database(selectors.session_get, owner_id=owner, session_id=session_id)
    kinds = {model.name: model.kind for model in engine.client().models()}
    link, token = await write_database(
        share_link_create,
        owner_id=owner,
        session_id=session_id,
        kind=str(kinds.get(session.model, ModelKind.CHAT)),
        days=body.days,
        author=body.author,
    )
    told = {name: getattr(link, name) for name in ShareOut.model_fields}
    return {**told, "path": reverse("shared", args=[token])}


@router.get("/shares", response={200: list[ShareOut], **REFUSALS})
async def shares(request: HttpRequest) -> Any:
    """The caller's links that work, newest first."""
    owner = owner_of(request)
    return await in_database(lambda: list(share_links_of(owner_id=owner)))


@router.delete("/shares/{link_id}", response={204: None, **REFUSALS})
async def revoke(request: HttpRequest, link_id: uuid.UUID) -> Status[None]:
    """From now on it shows nothing."""
    await write_database(share_link_revoke, owner_id=owner_of(request), link_id=link_id)
    return Status(204, None)


class FolderIn(Schema):
    name: str = Field(description="1 to 100 characters, which none of the other folders has.")


class FolderOut(Schema):
    id: uuid.UUID
    name: str


@router.get("/folders", response={200: list[FolderOut], **REFUSALS})
async def folders(request: HttpRequest) -> Any:
    """The caller's folders, by name."""
    return await in_database(folders_of, owner_id=owner_of(request))


@router.post("/folders", response={201: FolderOut, **REFUSALS})
async def make_folder(request: HttpRequest, body: FolderIn) -> Status[Any]:
    made = await write_database(folder_create, owner_id=owner_of(request), name=body.name)
    return Status(201, made)


@router.patch("/folders/{folder_id}", response={200: FolderOut, **REFUSALS})
async def rename_folder(request: HttpRequest, folder_id: uuid.UUID, body: FolderIn) -> Any:
    owner = owner_of(request)
    return await write_database(folder_rename, owner_id=owner, folder_id=folder_id, name=body.name)


@router.delete("/folders/{folder_id}", response={204: None, **REFUSALS})
async def delete_folder(request: HttpRequest, folder_id: uuid.UUID) -> Status[None]:
    """Its sessions stay."""
    await write_database(folder_delete, owner_id=owner_of(request), folder_id=folder_id)
    return Status(204, None)
