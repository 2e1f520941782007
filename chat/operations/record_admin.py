"""The admin's lists of what people use and may use, and of who did what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from chat.models import AuditEntry, Quota, Retention, Usage


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """To look at: nothing is added, changed or deleted."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Usage)
class UsageAdmin(ReadOnlyAdmin):
    list_display = (
        "day",
        "user",
        "turns",
        "prompt_tokens",
        "output_tokens",
        "all_tokens",
        "reserved_tokens",
    )
    list_filter = ("day",)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email")
    date_hierarchy = "day"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Usage]:
        rows: QuerySet[Usage] = super().get_queryset(request)
        return rows.annotate(all_tokens=F("prompt_tokens") + F("output_tokens"))

    @admin.display(description=_("tokens"), ordering="all_tokens")
    def all_tokens(self, usage: Usage) -> int:
        return usage.all_tokens  # type: ignore[attr-defined,no-any-return]


@admin.register(Quota)
class QuotaAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = (
        "__str__",
        "user",
        "group",
        "tokens_per_day",
        "concurrent_turns",
    )
    list_select_related = ("user", "group")
    search_fields = ("user__username", "group__name")
    autocomplete_fields = ("user", "group")
    show_full_result_count = False


@admin.register(Retention)
class RetentionAdmin(ModelAdmin):  # type: ignore[misc]
    """Conversations of a group's members that are older are deleted within a minute."""

    list_display = ("group", "days")
    list_select_related = ("group",)
    search_fields = ("group__name",)
    autocomplete_fields = ("group",)
    show_full_result_count = False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "target_type", "target", "was", "became")
    list_filter = ("action", "target_type", "at")
    search_fields = ("actor", "action", "target", "=target_id")
    date_hierarchy = "at"
    ordering = ("-id",)

    @admin.display(description=_("before"))
    def was(self, entry: AuditEntry) -> str:
        return _in_a_line(entry.before)

    @admin.display(description=_("after"))
    def became(self, entry: AuditEntry) -> str:
        return _in_a_line(entry.after)


def _in_a_line(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}: {value}" for name, value in (values or {}).items()) or "-"
