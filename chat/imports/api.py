"""REST for the import; a part of `chat.api`."""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import AsyncGenerator
from typing import BinaryIO

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext as _
from ninja import Router

from chat import engine
from chat.accounts.callers import owner_of
from chat.errors import InvalidRequest
from chat.imports.job import import_file
from chat.imports.reader import CHUNK
from chat.schemas import ErrorOut

MAX_BYTES = 2 * 1024**3
IN_MEMORY = 1 << 20

router = Router()


@router.post("/import", response={200: None, 400: ErrorOut, 401: ErrorOut, 415: ErrorOut})
async def take(request: HttpRequest) -> StreamingHttpResponse:
    """Take the sessions of a file: an export of this site (JSON, or an array of them), or
    ChatGPT's (its zip file, or conversations.json). The body is the file itself, as
    application/json or application/zip. The answer is lines of JSON: how far it is, and in the
    last one, whose `done` is true, what was taken and what was not."""
    owner = owner_of(request)
    file, size = await asyncio.to_thread(_copied, request)
    return StreamingHttpResponse(
        _Lines(owner, file, size),
        content_type="application/x-ndjson",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _copied(request: HttpRequest) -> tuple[BinaryIO, int]:
    """The body as a file that can be sought in. Raises InvalidRequest."""
    file: BinaryIO = tempfile.SpooledTemporaryFile(IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
    size = 0
    while data := request.read(CHUNK):
        size += file.write(data)
        if size > MAX_BYTES:
            file.close()
            raise InvalidRequest(
                _("A file has at most %(most)d bytes.") % {"most": MAX_BYTES}, param="file"
            )
    file.seek(0)
    return file, size


class _Lines:
    """What is answered. Whoever answers closes it, and with it the file, also where the caller has
    left before the first line."""

    def __init__(self, owner: uuid.UUID, file: BinaryIO, size: int) -> None:
        self._models = [model.name for model in engine.client().models()]
        self._owner, self._file, self._size = owner, file, size

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        reports = import_file(
            owner_id=self._owner, file=self._file, size=self._size, models=self._models
        )
        async for report in reports:
            yield json.dumps(report, ensure_ascii=False) + "\n"

    def close(self) -> None:
        self._file.close()
