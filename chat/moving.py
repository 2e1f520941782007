"""All rows of one database into another, empty one: model by model, those that others refer to
first, in one transaction that ends only when both say the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction
from django.db.models import Field, Model
from django.utils.translation import gettext as _

ROWS = 500
"""That are in memory at once."""
_MADE_BY_MIGRATE = (Permission, ContentType)


class MoveError(Exception):
    """Why not, in words."""


@dataclass(frozen=True, slots=True)
class Moved:
    """checksum: over all rows, whatever their order."""

    model: str
    rows: int
    checksum: str


def move_rows(source: str, target: str, told: Callable[[Moved], None]) -> None:
    """Aliases of two databases with the same migrations. told: hears of each model that is over
    there. Raises MoveError; then nothing is."""
    models = in_order()
    with transaction.atomic(using=source), transaction.atomic(using=target), _times_as_they_are():
        _empty(models, target)
        for model in models:
            _copy(model, source, target)
        connections[target].check_constraints()
        _reset_sequences(models, target)
        for model in models:
            here, there = summed(model, source), summed(model, target)
            if here != there:
                raise MoveError(
                    _("%(model)s: %(here)s here, and %(there)s there. Nothing was moved.")
                    % {"model": here.model, "here": here, "there": there}
                )
            told(there)


def in_order() -> list[type[Model]]:
    """Every model with a table, each behind those that it refers to; where they refer to each other
    in a ring, that is closed by a column that may be empty. Until the end of the transaction no
    database asks."""
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]
    ordered: list[type[Model]] = []

    def put(model: type[Model]) -> None:
        if model in ordered or model not in models:
            return
        needed = _referred(model, null=False)
        for other in (*needed, *_referred(model, null=True)):
            if other in needed or model not in _all_needed(other):
                put(other)
        ordered.append(model)

    for model in models:
        put(model)
    return ordered


def _referred(model: type[Model], *, null: bool) -> list[type[Model]]:
    """The models that its columns refer to: those that may be empty, or the others."""
    others = [
        field.related_model._meta.concrete_model or field.related_model
        for field in model._meta.concrete_fields
        if isinstance(field.related_model, type) and field.null is null
    ]
    return [other for other in others if other is not model]


def _all_needed(model: type[Model]) -> set[type[Model]]:
    """What must be there before a row of it can be."""
    found: set[type[Model]] = set()
    left = [model]
    while left:
        new = [other for other in _referred(left.pop(), null=False) if other not in found]
        found.update(new)
        left += new
    return found


def summed(model: type[Model], database: str) -> Moved:
    fields = model._meta.concrete_fields
    count, total = 0, 0
    for row in _rows(model, database):
        values = [_plain(field.value_from_object(row)) for field in fields]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
        count, total = count + 1, (total + int.from_bytes(digest)) % 2**256
    return Moved(model._meta.label, count, f"{total:064x}")


def _empty(models: list[type[Model]], target: str) -> None:
    """Of what `migrate` has written, which the source has as well. Raises MoveError where somebody
    uses that database already."""
    for model in _MADE_BY_MIGRATE:
        model._base_manager.using(target).all().delete()
    used = [m._meta.label for m in models if m._base_manager.using(target).exists()]
    if used:
        raise MoveError(
            _("The other database is not empty: it has rows of %(models)s.")
            % {"models": ", ".join(used[:5])}
        )


def _copy(model: type[Model], source: str, target: str) -> None:
    rows = _rows(model, source)
    while batch := list(islice(rows, ROWS)):
        try:
            with transaction.atomic(using=target):
                model._base_manager.using(target).bulk_create(batch)
        except (DatabaseError, ValueError) as error:
            raise MoveError(_refused(model, batch, target, error)) from error


def _refused(model: type[Model], batch: list[Model], target: str, error: Exception) -> str:
    """Names the row, such as one with a character that the other database does not take."""
    for row in batch:
        try:
            with transaction.atomic(using=target):
                model._base_manager.using(target).bulk_create([row])
        except (DatabaseError, ValueError) as own:
            return _("%(model)s %(key)s cannot be stored there: %(reason)s") % {
                "model": model._meta.label, "key": row.pk, "reason": own,
            }  # fmt: skip
    return str(error)


def _rows(model: type[Model], database: str) -> Iterator[Model]:
    return iter(model._base_manager.using(database).order_by("pk").iterator(chunk_size=ROWS))


def _reset_sequences(models: list[type[Model]], target: str) -> None:
    connection = connections[target]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


@contextmanager
def _times_as_they_are() -> Iterator[None]:
    """Fields that write the present time by themselves do not, while rows are copied."""
    held: list[tuple[Field[Any, Any], str]] = [
        (field, name)
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        for name in ("auto_now", "auto_now_add")
        if getattr(field, name, False)
    ]
    for field, name in held:
        setattr(field, name, False)
    try:
        yield
    finally:
        for field, name in held:
            setattr(field, name, True)


def _plain(value: Any) -> Any:
    """The same for the same value, whichever database it comes from."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if value is None or isinstance(value, str | bool | int | float | list | dict):
        return value
    return str(value)
