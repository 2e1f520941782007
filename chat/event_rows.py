"""Rows of the event log, written many at a time: a statement for many deltas of all turns, one for
many texts. The ORM's objects would cost more than the database; and while a statement runs, however
long, the event loop goes on. What computes a turn is written with its first token, so that its row
says it however the turn ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TypeVar, cast

from django.db import connection, models
from django.utils import timezone

from chat.encryption.fields import EncryptedJSONField
from chat.models import Event, Generation, Message
from chat.turn_records import StartedTurn
from inference.types import Began

ROWS = 128
"""The most of one statement: what every database takes."""
_COLUMNS = ("session", "generation", "seq", "kind", "payload", "created_at")

T = TypeVar("T")


@dataclass(slots=True)
class Pending:
    """What one turn has not stored yet: its text so far, deltas by number, each as JSON, and what
    began it."""

    turn: StartedTurn
    content: str
    events: list[tuple[int, str]] = field(default_factory=list)
    began: Began | None = None


def write_texts(batch: Iterable[Pending]) -> int:
    """Within the caller's transaction. Returns how many of their messages there are. Raises
    DatabaseError."""
    sql = _sql(
        "UPDATE {0} SET {1} = its.column2 FROM (VALUES %s) AS its WHERE {0}.{2} = its.column1",
        Message,
        ("content",),
        ("id",),
    )
    stored = _column(Message, "content").get_db_prep_save
    texts = (
        (_uuid(pending.turn.message_id), stored(pending.content, connection)) for pending in batch
    )
    return sum(_run(sql, rows) for rows in _many(texts))


def write_events(batch: Iterable[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    sql = _sql("INSERT INTO {} ({}) VALUES %s", Event, _COLUMNS)
    for rows in _many(row for pending in batch for row in _rows(pending)):
        _run(sql, rows)


def write_beginnings(batch: Sequence[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    for began in {pending.began for pending in batch if pending.began}:
        ids = [pending.turn.generation_id for pending in batch if pending.began == began]
        Generation.objects.filter(id__in=ids).update(
            engine=asdict(began.engine), deterministic=began.deterministic
        )


def _run(statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """%s in the statement stands for the rows. Returns how many it touched."""
    row = "(" + ", ".join(["%s"] * len(rows[0])) + ")"
    with connection.cursor() as cursor:
        values = [value for row in rows for value in row]
        cursor.execute(statement.replace("%s", ", ".join([row] * len(rows))), values)
        return int(cursor.rowcount)


def _many(rows: Iterable[T]) -> Iterator[list[T]]:
    left = iter(rows)
    while some := list(islice(left, ROWS)):
        yield some


def _sql(statement: str, model: type[models.Model], *columns: Sequence[str]) -> str:
    """The statement with the names of the table, then of each list of columns."""
    quoted = connection.ops.quote_name
    lists = (", ".join(quoted(_column(model, name).column) for name in each) for each in columns)
    return statement.format(quoted(model._meta.db_table), *lists)


def _rows(pending: Pending) -> Iterable[tuple[Any, ...]]:
    turn = pending.turn
    now = _column(Event, "created_at").get_db_prep_save(timezone.now(), connection)
    session, generation = _uuid(turn.session_id), _uuid(turn.generation_id)
    encoded = cast(EncryptedJSONField, _column(Event, "payload")).encoded_to_store
    for seq, payload in pending.events:
        yield session, generation, seq, "message.delta", encoded(payload), now


def _uuid(value: uuid.UUID) -> Any:
    return _column(Message, "id").get_db_prep_save(value, connection)


def _column(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    found = model._meta.get_field(name)
    assert isinstance(found, models.Field)
    return found
