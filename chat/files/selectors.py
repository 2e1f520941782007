"""Reads: files, and what models were shown of them. The texts, which are long, are fetched only
where they are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from chat.files.errors import FileNotFound
from chat.models import File, Message, MessageFile, MessageReading

View = TypeVar("View", bound=Any)
"""`chat.selectors.MessageView`, which builds on this file."""


def described(file: File) -> dict[str, Any]:
    """A file as frames and pages tell of it."""
    names = ("name", "kind", "encoding", "size", "characters", "tokens")
    return {"id": str(file.id)} | {name: getattr(file, name) for name in names}


def file_get(*, owner_id: uuid.UUID, file_id: uuid.UUID) -> File:
    """With its text. Raises FileNotFound, for another owner's file too."""
    file = File.objects.filter(owner_id=owner_id, id=file_id).first()
    if file is None:
        raise FileNotFound(file_id)
    return file


def files_named(*, owner_id: uuid.UUID, ids: Sequence[uuid.UUID]) -> list[File]:
    """In this order, with their texts. Raises FileNotFound for the first that is not there."""
    found = File.objects.filter(owner_id=owner_id).in_bulk(list(ids)) if ids else {}
    for file_id in ids:
        if file_id not in found:
            raise FileNotFound(file_id)
    return [found[file_id] for file_id in ids]


def readings(messages: Iterable[Message]) -> dict[uuid.UUID, MessageReading]:
    """By message; without a query where no message has one."""
    ids = [message.id for message in messages if message.reads_files]
    found = MessageReading.objects.filter(message_id__in=ids) if ids else ()
    return {reading.message_id: reading for reading in found}


def with_files(messages: Iterable[Message], views: list[View]) -> list[View]:
    """The views with `files`, and an answer's with the `passages` of what it answers; without a
    query where no message reads files."""
    ids = [message.id for message in messages if message.reads_files]
    if not ids:
        return views
    rows = MessageFile.objects.filter(message_id__in=ids).select_related("file")
    attached: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for row in rows.defer("file__text", "file__places"):
        attached.setdefault(row.message_id, []).append(described(row.file))
    read = MessageReading.objects.filter(message_id__in=ids)
    passages = dict(read.values_list("message_id", "passages"))
    return [
        replace(view, files=attached.get(view.id, []), passages=passages.get(view.parent_id, []))
        for view in views
    ]


def exported_files(messages: Iterable[Message]) -> dict[uuid.UUID, dict[str, Any]]:
    """Of each message that reads files, its `files` with the text in them and its `passages`;
    without a query where none does."""
    read = readings(messages)
    if not read:
        return {}
    told: dict[uuid.UUID, dict[str, Any]] = {
        message_id: {"files": [], "passages": reading.passages}
        for message_id, reading in read.items()
    }
    rows = MessageFile.objects.filter(message_id__in=list(read)).select_related("file")
    for row in rows.defer("file__places"):
        its = {"sha256": row.file.sha256, "text": row.file.text}
        told[row.message_id]["files"].append(described(row.file) | its)
    return told


def file_names(messages: Iterable[Message]) -> dict[uuid.UUID, list[str]]:
    """Of each message that has files, their names; without a query where none has."""
    ids = [message.id for message in messages if message.reads_files]
    rows = MessageFile.objects.filter(message_id__in=ids) if ids else None
    names: dict[uuid.UUID, list[str]] = {}
    for message_id, name in rows.values_list("message_id", "file__name") if rows else ():
        names.setdefault(message_id, []).append(name)
    return names


def file_tokens(*, message_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """How many tokens of the prompt each message's files take, as counted by the model that it was
    sent to. Messages that read no files are left out."""
    found = MessageReading.objects.filter(message_id__in=list(message_ids))
    return dict(found.values_list("message_id", "tokens"))


def passages_of(*, message_id: uuid.UUID) -> list[dict[str, Any]]:
    """That a message was read with."""
    found = MessageReading.objects.filter(message_id=message_id)
    return found.values_list("passages", flat=True).first() or []
