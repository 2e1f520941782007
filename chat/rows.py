"""Rows written and looked for without the ORM's way of making its statement anew each time: for
what lies before the first token of an answer."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models


def insert(*rows: models.Model) -> None:
    """Write rows of one table that are not there yet, in one statement, within the caller's
    transaction. What the database gives itself, such as a counted key, is not read back; no signal
    is sent. Raises IntegrityError, DatabaseError."""
    database = connections[DEFAULT_DB_ALIAS]
    statement, fields = _insertion(type(rows[0]))
    one = "(" + ", ".join(["%s"] * len(fields)) + ")"
    values = [
        field.get_db_prep_save(field.pre_save(row, add=True), database)
        for row in rows
        for field in fields
    ]
    with database.cursor() as cursor:
        cursor.execute(statement + ", ".join([one] * len(rows)), values)
    for row in rows:
        row._state.adding = False


def is_empty(model: type[models.Model]) -> bool:
    """Whether the table has no row at all, as one for what few sites use: cheaper than looking for
    a row in it."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_any(model))
        return cursor.fetchone() is None


def has(model: type[models.Model], name: str, value: str) -> bool:
    """Whether a row has this text in its field."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_look_up(model, name), [value])
        return cursor.fetchone() is not None


@cache
def _insertion(model: type[models.Model]) -> tuple[str, list[models.Field[Any, Any]]]:
    fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
    columns = ", ".join(_quoted(field.column) for field in fields)
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES ", fields  # noqa: S608


@cache
def _look_up(model: type[models.Model], name: str) -> str:
    column, table = model._meta.get_field(name).name, model._meta.db_table
    return f"SELECT 1 FROM {_quoted(table)} WHERE {_quoted(column)} = %s LIMIT 1"  # noqa: S608


@cache
def _any(model: type[models.Model]) -> str:
    return f"SELECT 1 FROM {_quoted(model._meta.db_table)} LIMIT 1"  # noqa: S608


def _quoted(name: str) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(name)
