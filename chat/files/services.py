"""Writes: a file is taken in, given to a message, deleted, and swept away when nobody sent it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, RestrictedError, Sum
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from chat.files.errors import FileInUse, FileNotFound, FileRefused
from chat.files.selectors import described
from chat.models import File, Message, MessageFile, MessageReading
from chat.reading.result import Reading

WAITING = timedelta(days=1)
"""How long an uploaded file waits to be sent."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of an upload before it is read."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a message's files give a model to read; written with the message. passages: as they
    are stored."""

    files: Sequence[File]
    prompt_text: str
    tokens: int
    passages: list[dict[str, Any]]


@transaction.atomic
def file_create(
    *, owner_id: uuid.UUID, upload: Upload, reading: Reading, tokens: int, model: str
) -> File:
    """The row of these bytes, which is made where it is not there yet. Raises FileRefused where
    its owner has no room for it."""
    known = file_again(owner_id=owner_id, sha256=upload.sha256, kind=reading.kind, name=upload.name)
    if known is not None:
        return known
    size = len(reading.text.encode())
    used = _bytes_of(owner_id)
    limit = settings.TINYLLM_FILES_OWNER_MB * 1_000_000
    if used + size > limit:
        raise FileRefused("quota", upload.name, size=used + size, limit=limit)
    file, _made = File.objects.get_or_create(
        owner_id=owner_id,
        sha256=upload.sha256,
        kind=reading.kind,
        defaults={
            "name": upload.name,
            "size": upload.size,
            "encoding": reading.encoding,
            "characters": len(reading.text),
            "tokens": tokens,
            "model": model,
            "text": reading.text,
            "text_size": size,
            "places": [asdict(place) for place in reading.places],
        },
    )
    return file


def _bytes_of(owner_id: uuid.UUID) -> int:
    found = File.objects.filter(owner_id=owner_id).aggregate(total=Sum("text_size"))
    return int(found["total"] or 0)


def file_again(*, owner_id: uuid.UUID, sha256: str, kind: str, name: str) -> File | None:
    """The row of bytes that were uploaded before, waiting anew. It takes the new name where no
    message shows the old one."""
    mine = File.objects.filter(owner_id=owner_id, sha256=sha256, kind=kind)
    known = mine.defer("text", "places").first()
    if known is None:
        return None
    known.waiting_since = timezone.now()
    if not known.attached.exists():
        known.name = name
    known.save(update_fields=["waiting_since", "name"])
    return known


def file_delete(*, owner_id: uuid.UUID, file_id: uuid.UUID) -> None:
    """Raises FileNotFound, FileInUse."""
    file = File.objects.filter(owner_id=owner_id, id=file_id).only("name").first()
    if file is None:
        raise FileNotFound(file_id)
    try:
        file.delete()
    except RestrictedError:
        raise FileInUse(file.name) from None


def write_shown(*, message: Message, shown: Shown | None) -> dict[str, Any]:
    """The rows of what a new message is read with, within the caller's transaction, and what is
    told of them in its event. Raises FileNotFound."""
    if shown is None:
        return {}
    for position, file in enumerate(shown.files):
        if not File.objects.filter(id=file.id).update(waiting_since=None):
            raise FileNotFound(file.id)  # deleted since it was read
        MessageFile.objects.create(message=message, file=file, position=position)
    MessageReading.objects.create(
        message=message,
        prompt_text=shown.prompt_text,
        tokens=shown.tokens,
        passages=shown.passages,
    )
    return {"files": [described(file) for file in shown.files]}


def passages_told(shown: Shown | None) -> dict[str, Any]:
    """What the event of an answer tells of the passages that it is written with."""
    return {"passages": shown.passages} if shown else {}


def names_of(shown: Shown | None) -> str:
    return ", ".join(file.name for file in (shown.files if shown else ()))


def files_sweep() -> int:
    """Delete what was uploaded long ago and not sent. Returns how many it was."""
    due = File.objects.filter(waiting_since__lt=timezone.now() - WAITING, attached=None)
    return due.delete()[0]


@receiver(post_delete, sender=MessageFile)
def _message_file_deleted(instance: MessageFile, **_: Any) -> None:
    """With its last message a file goes too, unless it was uploaded again for another one."""
    transaction.on_commit(partial(_delete_unused, instance.file_id))


def _delete_unused(file_id: uuid.UUID) -> None:
    late = Q(waiting_since=None) | Q(waiting_since__lt=timezone.now() - WAITING)
    File.objects.filter(late, id=file_id, attached=None).delete()


def files_copy(*, copies: Mapping[uuid.UUID, Message]) -> None:
    """What was read with messages is read with their copies too. copies: by the id of the original.
    Without a query where none reads files."""
    ids = [message_id for message_id, copy in copies.items() if copy.reads_files]
    if not ids:
        return
    attached = MessageFile.objects.filter(message_id__in=ids)
    MessageFile.objects.bulk_create(
        MessageFile(message=copies[row.message_id], file_id=row.file_id, position=row.position)
        for row in attached
    )
    MessageReading.objects.bulk_create(
        MessageReading(
            message=copies[row.message_id],
            prompt_text=row.prompt_text,
            tokens=row.tokens,
            passages=row.passages,
        )
        for row in MessageReading.objects.filter(message_id__in=ids)
    )
