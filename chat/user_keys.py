"""The key of an account: whatever the primary key of the project's user model is. A UUID in ours, a
number in many a project that these apps are added to."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection


def parsed(text: str) -> Any:
    """The key that was written as `str(key)`. Raises ValueError."""
    try:
        return get_user_model()._meta.pk.to_python(text)
    except ValidationError as error:
        raise ValueError(f"not the key of an account: {text[:100]!r}") from error


def in_sql(key: Any) -> Any:
    """As a column that refers to an account holds it: what a statement of our own is given."""
    return get_user_model()._meta.pk.get_db_prep_value(key, connection)


def as_uuid(key: Any) -> uuid.UUID:
    """The key itself where it is a UUID, else one that always stands for it."""
    return key if isinstance(key, uuid.UUID) else uuid.uuid5(_KEYS, str(key))


_KEYS = uuid.UUID("5d7e36fb-5e1c-4b0c-9d0c-9a1a3f2f6c57")
