"""An upload on its way in: known already, or read apart from us, counted and kept."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import suppress
from pathlib import PurePosixPath, PureWindowsPath

import structlog
from django.conf import settings
from django.db import DatabaseError

from chat import engine
from chat.database import write_database
from chat.errors import InvalidRequest, check_unicode
from chat.files import vectors
from chat.files.errors import FileRefused
from chat.files.process import read_apart
from chat.files.services import Upload, file_again, file_create, files_sweep
from chat.models import File
from chat.reading.kinds import kind_of
from chat.reading.result import Refused

MAX_NAME = 255

_log = structlog.get_logger(__name__)


async def take_in(*, owner_id: uuid.UUID, name: str, data: bytes, model: str) -> File:
    """The row of a file, which is read where the same bytes of the same owner were not before.
    model: whose tokens are counted.

    Raises FileRefused, ModelNotFound, ModelUnavailable, EngineStopped."""
    name = plain_name(name)
    limit = settings.TINYLLM_FILE_MB * 1_000_000
    if len(data) > limit:
        raise FileRefused("too_large", name, size=len(data), limit=limit)
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    with suppress(Refused):  # which the reader then says
        kind = kind_of(name, data)
        known = await write_database(
            file_again, owner_id=owner_id, sha256=sha256, kind=kind, name=name
        )
        if known is not None:
            await vectors.begin(known.id)
            return known
    codec = await engine.client().codec(model)
    reading = await read_apart(name, data)
    tokens = len(await asyncio.to_thread(codec.encode, reading.text))
    file = await write_database(
        file_create,
        owner_id=owner_id,
        upload=Upload(name, len(data), sha256),
        reading=reading,
        tokens=tokens,
        model=model,
    )
    await vectors.begin(file.id)
    return file


def plain_name(name: str) -> str:
    """Without folders, on one line. Raises InvalidRequest."""
    check_unicode("name", name.replace("\0", ""))
    last = PurePosixPath(PureWindowsPath(name).name).name
    line = " ".join("".join(c if c.isprintable() else " " for c in last).split())
    if not line:
        raise InvalidRequest("name", param="name")
    if len(line) <= MAX_NAME:
        return line
    end = PurePosixPath(line).suffix[:20]  # which says what it is
    return line[: MAX_NAME - 1 - len(end)] + "…" + end


async def sweep() -> None:
    """Delete what nobody sent for a day."""
    try:
        await write_database(files_sweep)
    except DatabaseError as error:
        _log.warning("files_sweep_failed", reason=str(error))  # the next one finds them
