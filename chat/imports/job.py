"""An import as it goes: entry by entry, each whole or not at all, with a report of what was taken
and a name for what was not. What is taken stays, also when the reader leaves in the middle."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from typing import Any, BinaryIO

from django.db import DataError
from django.utils.translation import gettext as _

from chat.database import write_database
from chat.errors import ChatError
from chat.imports import chatgpt, ours
from chat.imports.reader import entries
from chat.imports.sessions import session_import
from chat.imports.shapes import ImportedSession, Unreadable

MOST = 50_000
"""Sessions of one file."""
NAMED = 200
"""Entries that were not taken and are named; of more, their number is told."""
STEP = 10

# What odd values in odd places lead to, in Python and in the database.
_WRONG = (TypeError, ValueError, KeyError, AttributeError, OverflowError, DataError)

_READERS: list[tuple[Callable[[Any], bool], Callable[[Any], ImportedSession]]] = [
    (ours.is_ours, ours.read),
    (chatgpt.is_chatgpt, chatgpt.read),
]


async def import_file(
    *, owner_id: uuid.UUID, file: BinaryIO, size: int, models: Collection[str]
) -> AsyncGenerator[dict[str, Any], None]:
    """Reports: how far it is, every so often, and in the end what came of it (`done` is true).
    error: why the rest of the file could not be read, or null."""
    report: dict[str, Any] = {"done": False, "sessions": 0, "messages": 0, "left_out": 0}
    report |= {"skipped": 0, "named": [], "error": None, "size": size, "read": 0}
    texts = entries(file)
    number = 0
    try:
        while (text := await asyncio.to_thread(_next, texts)) is not _END:
            number += 1
            if number > MOST:
                report["error"] = _("At most %(most)d are taken from one file.") % {"most": MOST}
                break
            await _take(report, number, text, owner_id=owner_id, models=models)
            if number % STEP == 0:
                report["read"] = file.tell()
                yield report
    except ChatError as error:
        report["error"] = error.message
    yield report | {"done": True, "read": size}


async def _take(report: dict[str, Any], number: int, text: Any, **its: Any) -> None:
    title = ""
    try:
        data = await asyncio.to_thread(_parsed, text)
        title = _name(data)
        told = await asyncio.to_thread(_read, data)
        await write_database(session_import, told=told, **its)
    except Unreadable as error:
        _skip(report, number, title, str(error))
    except _WRONG:
        _skip(report, number, title, _("It is not in the form that was expected."))
    else:
        report["sessions"] += 1
        report["messages"] += len(told.messages)
        report["left_out"] += told.left_out


def _skip(report: dict[str, Any], number: int, title: str, reason: str) -> None:
    report["skipped"] += 1
    if len(report["named"]) < NAMED:
        named = {"number": number, "title": title, "reason": reason}
        report["named"] = [*report["named"], named]


_END = object()


def _next(texts: Iterator[str | None]) -> Any:
    return next(texts, _END)


def _parsed(text: str | None) -> dict[str, Any]:
    if text is None:
        raise Unreadable(_("It is too long to be read."))
    try:
        data: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable(_("It is not valid JSON.")) from None
    return data


def _name(data: dict[str, Any]) -> str:
    head = data.get("session")
    title = data.get("title") or (head.get("title") if isinstance(head, dict) else "")
    return title[:200].encode("utf-8", "replace").decode() if isinstance(title, str) else ""


def _read(data: dict[str, Any]) -> ImportedSession:
    for fits, read in _READERS:
        if fits(data):
            return read(data)
    raise Unreadable(_("It is neither an export of this site nor of ChatGPT."))
