"""Rows of the event log, as few as there are turns: what one said in a batch is one row, written by
one statement for all turns, their texts by another. The ORM's objects would cost more than the
database. What computes a turn is written with its first token, so that its row says it however the
turn ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from django.db import connection, models
from django.utils import timezone

from chat.delta_rows import KIND, Piece, joined
from chat.encryption.fields import EncryptedJSONField
from chat.models import Event, Generation, Message
from chat.turn_records import StartedTurn
from inference.types import Began

_COLUMNS = ("session", "generation", "seq", "kind", "payload", "created_at")


@dataclass(slots=True)
class Pending:
    """What one turn has not stored yet: its text so far, the events that made it, which follow each
    other, and what began it."""

    turn: StartedTurn
    content: str
    pieces: list[Piece] = field(default_factory=list)
    began: Began | None = None


def write_texts(batch: Iterable[Pending]) -> int:
    """Within the caller's transaction. Returns how many of their messages there are. Raises
    DatabaseError."""
    sql = _sql("UPDATE {} SET {} = %s WHERE {} = %s", Message, ("content",), ("id",))
    stored, key = _column(Message, "content").get_db_prep_save, _uuids()
    return _run(sql, [(stored(its.content, connection), key(its.turn.message_id)) for its in batch])


def write_events(batch: Iterable[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    sql = _sql("INSERT INTO {} ({}) VALUES (%s, %s, %s, %s, %s, %s)", Event, _COLUMNS)
    key, now = _uuids(), _column(Event, "created_at").get_db_prep_save(timezone.now(), connection)
    stored = cast(EncryptedJSONField, _column(Event, "payload")).encoded_to_store
    rows = []
    for its in batch:
        if its.pieces:
            turn, payload = its.turn, stored(joined(its.turn.message_id, its.pieces))
            ids = key(turn.session_id), key(turn.generation_id)
            rows.append((*ids, its.pieces[-1].seq, KIND, payload, now))
    _run(sql, rows)


def write_beginnings(batch: Sequence[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    for began in {pending.began for pending in batch if pending.began}:
        ids = [pending.turn.generation_id for pending in batch if pending.began == began]
        Generation.objects.filter(id__in=ids).update(
            engine=asdict(began.engine), deterministic=began.deterministic
        )


def _run(statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """The statement once for each row, which for SQLite is less work than one statement of many:
    for that it copies every page first that it is about to change. Returns how many rows it
    touched."""
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return int(cursor.rowcount)


def _sql(statement: str, model: type[models.Model], *columns: Sequence[str]) -> str:
    """The statement with the names of the table, then of each list of columns."""
    quoted = connection.ops.quote_name
    lists = (", ".join(quoted(_column(model, name).column) for name in each) for each in columns)
    return statement.format(quoted(model._meta.db_table), *lists)


def _uuids() -> Any:
    """What makes a key of the database's kind from one of ours."""
    prepared = _column(Message, "id").get_db_prep_save
    return lambda value: prepared(value, connection)


def _column(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    found = model._meta.get_field(name)
    assert isinstance(found, models.Field)
    return found
