"""The admin: the record to look at, search, export and delete, never to edit; and never its texts.

Nobody reads here what people say, a superuser no more than others: not in a list, a page, an export
or a search, which would tell by what it finds. Rows are called by their ids, also in the lists of
what is deleted and in the admin's own log. Who has to read a conversation says why
(`chat.operations.conversation_page`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from chat import audit
from chat.accounts import admin as _accounts  # noqa: F401  (registers itself, as do the next)
from chat.accounts import people_admin as _people  # noqa: F401
from chat.generation import turns
from chat.models import Feedback, File, Generation, Message, Session
from chat.operations import record_admin as _records  # noqa: F401
from chat.operations.rights import BREAK_GLASS

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
        return super().get_queryset(request).annotate(message_count=Count("messages"))

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
        return super().get_queryset(request).annotate(generation_count=Count("generations"))

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
    readonly_fields = (
        "sampled",
        "failure",
    )

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
