"""All that the site keeps of a person, as one file for that person: every table that has an owner,
row by row, and every conversation for reading.

Which tables these are follows from their foreign keys, so that none is forgotten when it is new.
Written as it is sent, a page of rows at a time: a large record takes no more memory than a small
one.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import ForeignKey, Model

from chat.database import in_database
from chat.export import as_markdown, exported
from chat.models import Session, sessions_of
from chat.packing import unpack

PAGE = 200
SECRETS = ("password", "digest", "key_hash")
"""Columns that serve to recognise a secret. They say nothing to their owner."""


def owned_tables() -> dict[type[Model], str]:
    """Each model of ours with the lookup that leads from a row to its owner; the owner's own is
    `pk`. Where several lead there, the shortest."""
    found: dict[type[Model], str] = {get_user_model(): "pk"}
    left = [model for model in apps.get_app_config("chat").get_models() if model not in found]
    while True:
        reached = {model: lookup for model in left if (lookup := _lookup(model, found))}
        if not reached:
            return found
        found |= reached
        left = [model for model in left if model not in reached]


def _lookup(model: type[Model], found: dict[type[Model], str]) -> str | None:
    fields = [field for field in model._meta.get_fields() if isinstance(field, ForeignKey)]
    ways = [
        field.name if (way := found[related]) == "pk" else f"{field.name}__{way}"
        for field in fields
        if (related := cast(type[Model], field.related_model)) in found
    ]
    return min(ways, key=lambda way: way.count("__"), default=None)


async def archive(*, owner_id: uuid.UUID) -> AsyncIterator[bytes]:
    """The pieces of a zip file."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as folder:
        for model, lookup in owned_tables().items():
            with folder.open(f"tables/{model._meta.model_name}.jsonl", "w") as file:
                async for rows in _pages(model, lookup, owner_id):
                    file.write(_lines(rows))
                    yield pipe.taken()
        async for rows in _pages(Session, "owner", owner_id):
            for row in rows:
                its = await in_database(_readable, owner_id=owner_id, session_id=row.pk)
                if its is not None:
                    folder.writestr(f"conversations/{row.pk}.md", its)
                    yield pipe.taken()
    yield pipe.taken()


async def _pages(
    model: type[Model], lookup: str, owner_id: uuid.UUID
) -> AsyncIterator[list[Model]]:
    after: Any = None
    while rows := await in_database(_page, model, lookup, owner_id, after):
        yield rows
        after = rows[-1].pk


def _page(model: type[Model], lookup: str, owner_id: uuid.UUID, after: Any) -> list[Model]:
    rows = model._default_manager.filter(**{lookup: owner_id}).order_by("pk")
    return list(rows[:PAGE] if after is None else rows.filter(pk__gt=after)[:PAGE])


def _readable(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> str | None:
    if not sessions_of(owner_id).filter(id=session_id).exists():
        return None  # about to be deleted
    return as_markdown(exported(owner_id=owner_id, session_id=session_id))


def _lines(rows: Iterable[Model]) -> bytes:
    lines = (json.dumps(_values(row), default=str, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _values(row: Model) -> dict[str, Any]:
    fields = [field for field in row._meta.concrete_fields if field.attname not in SECRETS]
    return {field.attname: _plain(field.value_from_object(row)) for field in fields}


def _plain(value: Any) -> Any:
    """Token ids are packed in their columns."""
    return unpack(value) if isinstance(value, bytes | memoryview) else value


class _Pipe(io.RawIOBase):
    """What a zip file is written to that is sent on at once."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def writable(self) -> bool:
        return True

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
