"""/api/files: what is attached to a message is sent there first, and its text can be read again."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from django.core.exceptions import SuspiciousMultipartForm
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.utils.translation import gettext as _
from ninja import Router, Status

from chat import live_settings
from chat.accounts.callers import owner_of
from chat.database import in_database, write_database
from chat.errors import InvalidRequest
from chat.files.errors import FileNotFound
from chat.files.schemas import FileTextOut, UploadOut
from chat.files.selectors import described, file_get
from chat.files.services import file_delete
from chat.files.upload import take_in
from chat.schemas import ErrorOut

_REFUSALS = dict.fromkeys((400, 401, 404, 409, 413, 415, 500, 503), ErrorOut)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}

router = Router()


# The body is not read by the router, which would do so on the event loop.
@router.post("", response={200: UploadOut, **_REFUSALS}, openapi_extra=_BODY)
async def upload(request: HttpRequest, model: str | None = None) -> Any:
    """Take in one file, in the field `file`. Its text is kept, the file is not. The same file twice
    has one id. Who does not send it in a message within a day uploads it again."""
    model = model or live_settings.value("TINYLLM_DEFAULT_MODEL")
    name, data = await asyncio.to_thread(_received, request)
    file = await take_in(owner_id=owner_of(request), name=name, data=data, model=model)
    return {**described(file), "in_use": await in_database(file.attached.exists)}


@router.get("/{file_id}", response={200: FileTextOut, 401: ErrorOut, 404: ErrorOut})
async def text(request: HttpRequest, file_id: str, start: int = 0, end: int | None = None) -> Any:
    """A file's text from one character to another: what a cited passage says."""
    file = await in_database(file_get, owner_id=owner_of(request), file_id=_uuid(file_id))
    first = min(max(0, start), file.characters)
    last = file.characters if end is None else min(max(first, end), file.characters)
    return {**described(file), "text": file.text[first:last], "start": first, "end": last}


@router.delete("/{file_id}", response={204: None, 401: ErrorOut, 404: ErrorOut, 409: ErrorOut})
async def delete(request: HttpRequest, file_id: str) -> Status[None]:
    """Delete a file that no message has. Others go with their sessions."""
    await write_database(file_delete, owner_id=owner_of(request), file_id=_uuid(file_id))
    return Status(204, None)


def _received(request: HttpRequest) -> tuple[str, bytes]:
    """Raises InvalidRequest."""
    try:
        given = request.FILES.get("file")
    except (MultiPartParserError, SuspiciousMultipartForm):
        given = None
    if not isinstance(given, UploadedFile):
        raise InvalidRequest(
            _("The field “file” must be a file, as multipart/form-data."), param="file"
        )
    return given.name or "", given.read()


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise FileNotFound(text[:100]) from None
