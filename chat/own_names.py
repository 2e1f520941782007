"""Names that are unique among what one person has, and in their order.

They may be encrypted, each time differently: then no database can tell that two are the same, or
which comes first. So whoever gives a name holds its owner's row, and looks at the others.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db.models import Model

Named = TypeVar("Named", bound=Model)


def is_taken(*, owner_id: uuid.UUID, named: Model) -> bool:
    """Whether something else of this person and kind has the name that `named` is to have; nobody
    else can take it until the transaction ends."""
    owner = get_user_model().objects.select_for_update(no_key=True).filter(pk=owner_id)
    owner.order_by().values_list("pk", flat=True).first()
    others = type(named)._default_manager.filter(owner_id=owner_id).exclude(pk=named.pk)
    return _name(named) in set(others.values_list("name", flat=True))


def by_name(rows: Iterable[Named]) -> list[Named]:
    return sorted(rows, key=lambda row: (_name(row).casefold(), _name(row)))


def _name(row: Any) -> str:
    return str(row.name)
