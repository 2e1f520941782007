"""Rows of the event log, written many at a time: one statement for all deltas of all turns, one for
all texts. The ORM's objects would cost more than the database. What computes a turn is written with
its first token, so that its row says it however the turn ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, models
from django.utils import timezone

from chat.models import Event, Generation, Message
from chat.services import StartedTurn
from inference.types import Began

_COLUMNS = ("session", "generation", "seq", "kind", "payload", "created_at")


@dataclass(slots=True)
class Pending:
    """What one turn has not stored yet: its text so far, deltas by number, and what began it."""

    turn: StartedTurn
    content: str
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    began: Began | None = None


def write(batch: Sequence[Pending]) -> None:
    """Within the caller's transaction. Raises DatabaseError."""
    insert = _sql("INSERT INTO {} ({}) VALUES (%s, %s, %s, %s, %s, %s)", Event, _COLUMNS)
    update = _sql("UPDATE {0} SET {1} = %s WHERE {2} = %s", Message, ("content",), ("id",))
    with connection.cursor() as cursor:
        cursor.executemany(insert, [row for pending in batch for row in _rows(pending)])
        cursor.executemany(update, [(p.content, _uuid(p.turn.message_id)) for p in batch])
    for began in {pending.began for pending in batch if pending.began}:
        ids = [pending.turn.generation_id for pending in batch if pending.began == began]
        Generation.objects.filter(id__in=ids).update(
            engine=asdict(began.engine), deterministic=began.deterministic
        )


def _sql(statement: str, model: type[models.Model], *columns: Sequence[str]) -> str:
    """The statement with the names of the table, then of each list of columns."""
    quoted = connection.ops.quote_name
    lists = (", ".join(quoted(_column(model, name).column) for name in each) for each in columns)
    return statement.format(quoted(model._meta.db_table), *lists)


def _rows(pending: Pending) -> Iterable[tuple[Any, ...]]:
    turn, now = pending.turn, _prepared("created_at", timezone.now())
    session, generation = _uuid(turn.session_id), _uuid(turn.generation_id)
    for seq, payload in pending.events:
        yield session, generation, seq, "message.delta", _prepared("payload", payload), now


def _prepared(name: str, value: Any) -> Any:
    return _column(Event, name).get_db_prep_save(value, connection)


def _uuid(value: uuid.UUID) -> Any:
    return _column(Message, "id").get_db_prep_save(value, connection)


def _column(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    found = model._meta.get_field(name)
    assert isinstance(found, models.Field)
    return found
