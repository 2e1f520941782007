"""What the admin's lists of the record have in common: no text in any of them.

Nobody reads there what people say, a superuser no more than others: not in a list, a page, an
export or a search, which would tell by what it finds. Rows are called by their ids, also in the
lists of what is deleted and in the admin's own log. Who has to read a conversation says why
(`chat.operations.conversation_page`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from chat import audit

EXPORT_CHUNK = 500


class RecordAdmin(ModelAdmin):  # type: ignore[misc]
    """What a person said and what a model answered, without the words: look at, export, delete.
    Nothing is edited here, since an edited record would no longer be one. TEXTS: the fields that
    hold the words."""

    TEXTS: tuple[str, ...] = ()
    actions: tuple[str, ...] = ("export_json",)
    # A count in the query drops the model's own order.
    ordering = ("-created_at",)
    show_full_result_count = False
    list_per_page = 50

    def get_exclude(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return self.TEXTS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer(*self.TEXTS)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Any field may otherwise be asked about in the address of a list."""
        if lookup.partition("__")[0] in self.TEXTS:
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_export_permission(self, request: HttpRequest) -> bool:
        allowed: bool = self.has_view_permission(request)
        return allowed

    @admin.action(description=_("Export the selected rows as JSON"), permissions=["export"])
    def export_json(self, request: HttpRequest, rows: QuerySet[Any]) -> StreamingHttpResponse:
        """A JSON array, one row at a time: memory does not grow with the selection."""
        name = self.model._meta.model_name
        audit.record(f"{name}.export", target_type=str(name), after={"rows": rows.count()})
        return StreamingHttpResponse(
            json_array(rows, without=self.TEXTS),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}s.json"'},
        )


def json_array(rows: QuerySet[Any], *, without: Collection[str]) -> Iterator[str]:
    separator = "[\n"
    for row in rows.iterator(chunk_size=EXPORT_CHUNK):
        yield separator + json.dumps(_exported(row, without), default=str, ensure_ascii=False)
        separator = ",\n"
    yield "]\n" if separator != "[\n" else "[]\n"


def _exported(row: Model, without: Collection[str]) -> dict[str, Any]:
    fields = [field for field in row._meta.concrete_fields if field.name not in without]
    return {field.attname: field.value_from_object(row) for field in fields}
