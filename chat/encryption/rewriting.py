"""Values on their way from one state to another, while the site may run: each is written only if it
is still what was read, a batch in one transaction. Whatever has been done is done: who begins again
finds those values as they should be, and passes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from django.apps import apps
from django.db import connection, models, transaction

from chat.encryption.cipher import Unreadable
from chat.encryption.fields import Encrypted
from chat.encryption.keys import writing_key
from chat.models import Message, SearchText
from chat.search_index import searched

ROWS = 200
"""Of a transaction."""
PLAIN = ""
_EMPTY = (None, "", b"", "{}", "[]")

Model = type[models.Model]
Row = tuple[Any, tuple[Any, ...]]


@dataclass(slots=True)
class Told:
    """Values of a table. states: how many there are that are PLAIN, or of each key by its name.
    unreadable: that no key opens. written: anew; missed: that the site changed meanwhile."""

    states: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    written: int = 0
    missed: int = 0


def tables() -> dict[Model, list[Encrypted]]:
    """Those with encrypted columns, and which these are."""
    found: dict[Model, list[Encrypted]] = {}
    for model in apps.get_app_config("chat").get_models():
        columns = model._meta.concrete_fields
        its: list[Encrypted] = [each for each in columns if isinstance(each, Encrypted)]
        if its:
            found[model] = its
    return found


def count(model: Model, columns: list[Encrypted]) -> Told:
    """Every value is opened, none is written."""
    told, after = Told(), None
    while rows := _batch(model, columns, after):
        for column, raw in _values(columns, rows):
            key_id = column.key_id(raw)
            told.states[PLAIN if key_id is None else key_id.hex()] += 1
            _opened(told, column, raw)
        after = rows[-1][0]
    return told


def rewrite(model: Model, columns: list[Encrypted]) -> Told:
    """Every value as it would be written now."""
    told, after = Told(), None
    key = writing_key()
    wanted = key.id if key else None
    while True:
        with transaction.atomic():
            rows = _batch(model, columns, after)
            for row in rows:
                for column, raw in _values(columns, [row]):
                    if column.key_id(raw) != wanted:
                        _rewrite_value(told, column, row[0], raw)
        if not rows:
            return told
        after = rows[-1][0]


def _rewrite_value(told: Told, column: Encrypted, key: Any, raw: Any) -> None:
    value = _opened(told, column, raw)
    if not value:
        return
    quoted = connection.ops.quote_name
    table, name = quoted(column.model._meta.db_table), quoted(column.column)
    statement = f"UPDATE {table} SET {name} = %s WHERE {_key(column.model)} = %s AND {name} = %s"  # noqa: S608
    stored = cast("models.Field[Any, Any]", column).get_db_prep_save(value, connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, [stored, key, raw])
        told.written += cursor.rowcount
        told.missed += 1 - cursor.rowcount


def _opened(told: Told, column: Encrypted, raw: Any) -> Any:
    """None where no key opens it."""
    try:
        return column.from_db_value(raw, None, connection)
    except Unreadable:
        told.unreadable += 1
        return None


def _values(columns: list[Encrypted], rows: list[Row]) -> Iterator[tuple[Encrypted, Any]]:
    """Those that are not empty."""
    for _key, values in rows:
        for column, raw in zip(columns, values, strict=True):
            if raw not in _EMPTY:
                yield column, raw


def _batch(model: Model, columns: list[Encrypted], after: Any) -> list[Row]:
    """Each row's key, and its values as they are stored."""
    quoted = connection.ops.quote_name
    names = ", ".join(quoted(each.column) for each in columns)
    key, table = _key(model), quoted(model._meta.db_table)
    where = "" if after is None else f"WHERE {key} > %s "
    statement = f"SELECT {key}, {names} FROM {table} {where}ORDER BY {key} LIMIT {ROWS}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [] if after is None else [after])
        return [(row[0], tuple(map(_held, row[1:]))) for row in cursor.fetchall()]


def _key(model: Model) -> str:
    return connection.ops.quote_name(model._meta.pk.column)


def _held(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def remove_index() -> None:
    """Nothing that the search has written is left in its tables."""
    while ids := list(SearchText.objects.values_list("id", flat=True)[:ROWS]):
        SearchText.objects.filter(id__in=ids).delete()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO chat_search(chat_search) VALUES ('delete-all')")


def make_index() -> None:
    """Of every message, the oldest first."""
    left = Message.objects.exclude(content="", reads_files=False)
    ids = list(left.order_by("created_at").values_list("id", flat=True))
    for begin in range(0, len(ids), ROWS):
        rows = Message.objects.filter(id__in=ids[begin : begin + ROWS]).order_by("created_at")
        SearchText.objects.bulk_create(searched(list(rows)), ignore_conflicts=True)
