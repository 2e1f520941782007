"""The admin's list of the site's prompts. What people keep for themselves is not in it."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminSelectWidget

from chat.models import SavedPrompt, SavedPromptVersion
from chat.saved_prompts.forms import PromptForm
from chat.saved_prompts.store import prompt_keep, version_restore


class SitePromptForm(PromptForm):
    """restore: what of before is to be in the place of what is in the fields."""

    class Meta(PromptForm.Meta):
        widgets: ClassVar[dict[str, Any]] = {}  # the admin has its own

    restore = forms.TypedChoiceField(
        label=_("Go back to version"),
        coerce=int,
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = [] if self.instance._state.adding else list(self.instance.versions.all()[1:])
        told = [
            (each.number, f"{each.number}, {date_format(each.created_at, 'DATETIME_FORMAT')}")
            for each in versions
        ]
        self.fields["restore"].choices = [("", "-"), *told]  # type: ignore[attr-defined]


class Versions(TabularInline):  # type: ignore[misc]
    """What it was."""

    model = SavedPromptVersion
    fields = readonly_fields = ("number", "name", "text", "created_at")
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("chat.view_savedprompt")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(SavedPrompt)
class SitePromptAdmin(ModelAdmin):  # type: ignore[misc]
    form = SitePromptForm
    fields = ("name", "text", "restore")
    list_display = ("name", "versions", "created_at")
    ordering = ("created_at",)  # a count in the query drops the model's own
    sortable_by = ("created_at",)
    show_full_result_count = False
    inlines = (Versions,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SavedPrompt]:
        rows: QuerySet[SavedPrompt] = super().get_queryset(request)
        return rows.filter(owner=None).annotate(version_count=Count("versions"))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        can_restore = obj is not None and self.has_change_permission(request, obj)
        return self.fields if can_restore else self.fields[:2]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """None: what people keep for themselves must not be asked about."""
        return False

    def save_model(self, request: HttpRequest, obj: SavedPrompt, form: Any, change: bool) -> None:
        number = form.cleaned_data.get("restore")
        if number is None or not version_restore(obj, number=number):
            prompt_keep(obj)

    @admin.display(description=_("versions"))
    def versions(self, prompt: SavedPrompt) -> int:
        return prompt.version_count  # type: ignore[attr-defined,no-any-return]
