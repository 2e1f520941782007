"""The admin: the record to look at, search, export and delete, never to edit; and never its texts
(`chat.textless_admin`)."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from chat import audit
from chat.accounts import admin as _accounts  # noqa: F401  (registers itself, as do the next)
from chat.accounts import people_admin as _people  # noqa: F401
from chat.generation import turns
from chat.models import (
    Feedback,
    File,
    Generation,
    Message,
    Preset,
    PresetVersion,
    Session,
)
from chat.operations import record_admin as _records  # noqa: F401
from chat.operations.rights import BREAK_GLASS
from chat.operations.traces_page import trace_link
from chat.saved_prompts import admin as _saved_prompts  # noqa: F401
from chat.textless_admin import RecordAdmin


@admin.register(Session)
class SessionAdmin(RecordAdmin):
    TEXTS = ("title", "settings")
    list_display = (
        "__str__",
        "owner",
        "model",
        "messages",
        "updated_at",
    )
    list_filter = (
        "model",
        "updated_at",
    )
    list_select_related = ("owner",)
    search_fields = (
        "owner__username",
        "=id",
    )
    search_help_text = _("Owner or id")
    date_hierarchy = "created_at"
    readonly_fields = ("read",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        rows: QuerySet[Session] = super().get_queryset(request)
        return rows.annotate(message_count=Count("messages"))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        names = super().get_fields(request, obj)
        may_read = request.user.has_perm(BREAK_GLASS)
        return names if may_read else [name for name in names if name != "read"]

    @admin.display(description=_("messages"), ordering="message_count")
    def messages(self, session: Session) -> int:
        return session.message_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=_("what is said"))
    def read(self, session: Session) -> SafeString:
        address = reverse("operations:conversation", args=[session.pk])
        return format_html('<a href="{}">{}</a>', address, gettext("Read it, saying why…"))


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    TEXTS = ("content",)
    list_display = (
        "__str__",
        "session",
        "generations",
        "created_at",
    )
    list_filter = (
        "role",
        "created_at",
    )
    list_select_related = ("session",)
    search_fields = (
        "session__owner__username",
        "=session__id",
        "=id",
    )
    autocomplete_fields = (
        "session",
        "parent",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows: QuerySet[Message] = super().get_queryset(request)
        return rows.annotate(generation_count=Count("generations"))

    @admin.display(description=_("generations"), ordering="generation_count")
    def generations(self, message: Message) -> int:
        return message.generation_count  # type: ignore[attr-defined,no-any-return]


@admin.register(File)
class FileAdmin(RecordAdmin):
    """One that a message has goes with it."""

    TEXTS = ("name", "text", "text_size", "places", "waiting_since")
    list_display = ("__str__", "owner", "kind", "size", "characters", "tokens", "created_at")
    list_filter = ("kind", "created_at")
    list_select_related = ("owner",)
    search_fields = ("owner__username", "=sha256")


class PresetVersions(TabularInline):  # type: ignore[misc]
    """When it changed."""

    model = PresetVersion
    fields = readonly_fields = ("number", "created_at")
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("chat.view_preset")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Preset)
class PresetAdmin(RecordAdmin):
    TEXTS = ("name", "settings")
    list_display = ("__str__", "owner", "versions", "is_default", "created_at")
    list_filter = ("is_default", "created_at")
    list_select_related = ("owner",)
    search_fields = ("owner__username", "=id")
    inlines = (PresetVersions,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Preset]:
        rows: QuerySet[Preset] = super().get_queryset(request)
        return rows.annotate(version_count=Count("versions"))

    @admin.display(description=_("versions"), ordering="version_count")
    def versions(self, preset: Preset) -> int:
        return preset.version_count  # type: ignore[attr-defined,no-any-return]


@admin.register(Feedback)
class FeedbackAdmin(RecordAdmin):
    TEXTS = ("comment",)
    list_display = (
        "__str__",
        "owner",
        "updated_at",
    )
    list_filter = (
        "value",
        "updated_at",
    )
    list_select_related = ("owner",)
    search_fields = ("owner__username",)
    autocomplete_fields = ("message",)


@admin.register(Generation)
class GenerationAdmin(RecordAdmin):
    """How answers ran. Token ids are text too, and so are the words that end an answer, the system
    prompt in its context, and what an error quotes."""

    TEXTS = (
        "prompt_ids",
        "output_ids",
        "token_offsets",
        "prefix_offsets",
        "sampling",
        "context",
        "request",
        "error",
    )
    actions = (
        "export_json",
        "stop",
    )
    list_display = (
        "id",
        "status",
        "model",
        "session",
        "prompt_tokens",
        "output_tokens",
        "finish_reason",
        "created_at",
    )
    list_filter = (
        "status",
        "finish_reason",
        "model",
        "created_at",
    )
    list_select_related = ("session",)
    search_fields = (
        "=id",
        "=request_id",
        "=session__id",
        "model",
    )
    autocomplete_fields = (
        "session",
        "message",
    )
    raw_id_fields = ("preset_version",)
    readonly_fields = (
        "sampled",
        "failure",
        "trace",
    )
    trace = trace_link

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """The right to change generations, which serves for nothing else: nobody edits them."""
        return request.user.has_perm("chat.change_generation")

    @admin.action(description=_("Stop the selected answers"), permissions=["stop"])
    def stop(self, request: HttpRequest, rows: QuerySet[Generation]) -> None:
        """Those that are being written here; their text is kept."""
        running = rows.filter(status=Generation.Status.RUNNING)
        ids = set(running.values_list("id", flat=True))
        stopped = async_to_sync(turns().cancel_generations)(ids)
        if stopped:
            about = {"stopped": stopped, "of": sorted(map(str, ids))}
            audit.record("generation.cancel", target_type="generation", after=about)
            told = ngettext(
                "%(count)d answer was stopped.", "%(count)d answers were stopped.", stopped
            )
            self.message_user(request, told % {"count": stopped}, messages.SUCCESS)
        else:
            self.message_user(
                request, gettext("None of these answers is being written here."), messages.WARNING
            )

    @admin.display(description=_("sampling"))
    def sampled(self, generation: Generation) -> str:
        """Its numbers."""
        values = generation.sampling.items()
        numbers = [f"{name}: {value}" for name, value in values if isinstance(value, int | float)]
        return ", ".join(numbers) or "-"

    @admin.display(description=_("error"))
    def failure(self, generation: Generation) -> str:
        """Its code."""
        return str((generation.error or {}).get("code", "-"))
