"""Folders of sessions: made, renamed, deleted. What is in a folder outlives it."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils.translation import gettext as _

from chat.errors import ChatError, InvalidRequest, check_unicode
from chat.models import Folder
from chat.own_names import by_name, is_taken

MAX_NAME = 100
MOST = 200
"""Of one person."""


class FolderNotFound(ChatError):
    """Also said of another person's folder."""

    code = "folder_not_found"
    status = 404

    def __init__(self, folder_id: object) -> None:
        super().__init__(
            _("There is no folder %(id)s.") % {"id": folder_id},
            param="folder",
            folder_id=str(folder_id),
        )


def folders_of(*, owner_id: uuid.UUID) -> list[Folder]:
    """By name."""
    return by_name(Folder.objects.filter(owner_id=owner_id))


def folder_get(*, owner_id: uuid.UUID, folder_id: str | uuid.UUID) -> Folder:
    """Raises FolderNotFound, also for what cannot be an id."""
    try:
        known = uuid.UUID(str(folder_id))
    except ValueError:
        raise FolderNotFound(str(folder_id)[:100]) from None
    folder = Folder.objects.filter(id=known, owner_id=owner_id).first()
    if folder is None:
        raise FolderNotFound(folder_id)
    return folder


@transaction.atomic
def folder_create(*, owner_id: uuid.UUID, name: str) -> Folder:
    """Raises InvalidRequest, also for a name that is taken."""
    if Folder.objects.filter(owner_id=owner_id).count() >= MOST:
        raise InvalidRequest(_("There are %(most)d folders, and no more.") % {"most": MOST})
    return _saved(Folder(owner_id=owner_id), name)


@transaction.atomic
def folder_rename(*, owner_id: uuid.UUID, folder_id: uuid.UUID, name: str) -> Folder:
    """Raises FolderNotFound, InvalidRequest."""
    return _saved(folder_get(owner_id=owner_id, folder_id=folder_id), name)


def folder_delete(*, owner_id: uuid.UUID, folder_id: uuid.UUID) -> None:
    """Its sessions stay, in no folder. Raises FolderNotFound."""
    folder_get(owner_id=owner_id, folder_id=folder_id).delete()


def _saved(folder: Folder, name: str) -> Folder:
    check_unicode("name", name)
    folder.name = " ".join(name.split())
    if not 1 <= len(folder.name) <= MAX_NAME:
        raise InvalidRequest(
            _("A name has 1 to %(most)d characters, not %(length)d.")
            % {"most": MAX_NAME, "length": len(folder.name)},
            param="name",
        )
    if is_taken(owner_id=folder.owner_id, named=folder):
        raise InvalidRequest(
            _("There is a folder “%(name)s” already.") % {"name": folder.name}, param="name"
        )
    folder.save()
    return folder
