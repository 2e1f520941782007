"""Rows of the event log, as few as there are turns: what one said in a batch is one row, written by
one statement for many turns, their texts by another (ADR 33). The ORM's objects would cost more
than the database. What computes a turn is written with its first token, so that its row says it
however the turn ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, TypeVar, cast

from django.db import connection, models
from django.utils import timezone

from chat.delta_rows import KIND, Piece, joined
from chat.encryption.fields import EncryptedJSONField
from chat.models import Event, Generation, Message
from chat.turn_records import StartedTurn
from inference.types import Began

MOST_ROWS = 100
"""Of one statement: an old SQLite takes 999 values."""
_COLUMNS = ("session", "generation", "seq", "kind", "payload", "created_at")
_ROW = "(%s, %s, %s, %s, %s, %s)"
_INSERT = "INSERT INTO {} ({}) VALUES {{}}"
# An update from a list of values is three times the work for SQLite.
_UPDATE = "UPDATE {0} SET {1} = CASE {2} {{}} END WHERE {2} IN ({{}})"

R = TypeVar("R")


@dataclass(slots=True)
class Pending:
    """What one turn has not stored yet: its text so far, the events that made it, which follow each
    other, and what began it."""

    turn: StartedTurn
    content: str
    pieces: list[Piece] = field(default_factory=list)
    began: Began | None = None


def write_texts(batch: Sequence[Pending]) -> int:
    """Within the caller's transaction. Returns how many of their messages there are. Raises
    DatabaseError."""
    key, stored = _uuids(), _column(Message, "content").get_db_prep_save
    touched = 0
    for some in _pieces(batch):
        ids = [key(its.turn.message_id) for its in some]
        texts = [stored(its.content, connection) for its in some]
        touched += _run(
            _sql(_UPDATE, Message, ("content",), ("id",)).format(
                " ".join(["WHEN %s THEN %s"] * len(some)), ", ".join(["%s"] * len(some))
            ),
            [*chain(*zip(ids, texts, strict=True)), *ids],
        )
    return touched


def write_events(batch: Iterable[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    key, now = _uuids(), _column(Event, "created_at").get_db_prep_save(timezone.now(), connection)
    stored = cast(EncryptedJSONField, _column(Event, "payload")).encoded_to_store
    rows = []
    for its in batch:
        if its.pieces:
            turn, payload = its.turn, stored(joined(its.turn.message_id, its.pieces))
            ids = key(turn.session_id), key(turn.generation_id)
            rows.append((*ids, its.pieces[-1].seq, KIND, payload, now))
    for some in _pieces(rows):
        _run(_sql(_INSERT, Event, _COLUMNS).format(", ".join([_ROW] * len(some))), [*chain(*some)])


def write_beginnings(batch: Sequence[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    for began in {pending.began for pending in batch if pending.began}:
        ids = [pending.turn.generation_id for pending in batch if pending.began == began]
        Generation.objects.filter(id__in=ids).update(
            engine=asdict(began.engine), deterministic=began.deterministic
        )


def _pieces(rows: Sequence[R]) -> Iterator[Sequence[R]]:
    return (rows[at : at + MOST_ROWS] for at in range(0, len(rows), MOST_ROWS))


def _run(statement: str, values: Sequence[Any]) -> int:
    """Returns how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
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
