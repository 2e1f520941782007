"""Lists of rows in the admin: by an encrypted text nothing is found and nothing sorted there."""

from __future__ import annotations

from typing import Any

from django.db.models import ForeignObjectRel, Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.encryption import keys
from chat.encryption.fields import Encrypted


class EncryptedTexts:
    """In front of a ModelAdmin."""

    model: type[Model]

    def get_search_fields(self, request: HttpRequest) -> Any:
        names = super().get_search_fields(request)  # type: ignore[misc]
        return self._readable(names, names)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        names = super().get_sortable_by(request)  # type: ignore[misc]
        columns = [getattr(self, str(name), None) for name in names]
        orders = [getattr(column, "admin_order_field", None) for column in columns]
        return self._readable(
            names, [order or str(name) for order, name in zip(orders, names, strict=True)]
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        shown = super().get_changelist_instance(request)  # type: ignore[misc]
        if keys.is_on():
            shown.search_help_text = _("Names and ids. Texts are encrypted, and not searched here.")
        return shown

    def _readable(self, names: Any, lookups: Any) -> Any:
        """The names whose lookups lead to no encrypted column."""
        if not keys.is_on():
            return names
        pairs = zip(names, lookups, strict=True)
        return [name for name, lookup in pairs if not _is_encrypted(self.model, lookup)]


def _is_encrypted(model: type[Model], lookup: str) -> bool:
    """lookup: as of search_fields, or the name of what is no column."""
    fields = {field.name: field for field in model._meta.get_fields()}
    name, _double, rest = lookup.lstrip("=^@-").partition("__")
    found = fields.get(name)
    if found is None:
        return False
    if rest and (found.is_relation or isinstance(found, ForeignObjectRel)):
        return _is_encrypted(found.related_model, rest)  # type: ignore[arg-type]
    return isinstance(found, Encrypted)
