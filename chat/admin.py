"""The admin: the record to look at, search, export and delete, never to edit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
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
from chat.operations.traces_page import trace_link
from chat.packing import unpack

EXPORT_CHUNK = 500
PREVIEW = 80


class RecordAdmin(ModelAdmin):  # type: ignore[misc]
    """What a person said and what a model answered: read, export, delete. Nothing is edited here,
    since an edited record would no longer be one."""

    actions: tuple[str, ...] = ("export_json",)
    # A count in the query drops the model's own order.
    ordering = ("-created_at",)
    show_full_result_count = False
    list_per_page = 50

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
            json_array(rows),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}s.json"'},
        )


def json_array(rows: QuerySet[Any]) -> Iterator[str]:
    separator = "[\n"
    for row in rows.iterator(chunk_size=EXPORT_CHUNK):
        yield separator + json.dumps(_exported(row), default=str, ensure_ascii=False)
        separator = ",\n"
    yield "]\n" if separator != "[\n" else "[]\n"


def _exported(row: Model) -> dict[str, Any]:
    values = {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
    return {
        name: unpack(value) if isinstance(value, bytes | memoryview) else value
        for name, value in values.items()
    }


@admin.register(Session)
class SessionAdmin(RecordAdmin):
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
        "title",
        "owner__username",
        "messages__content",
        "=id",
    )
    search_help_text = _("Title, owner, text of a message, or id")
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        rows: QuerySet[Session] = super().get_queryset(request)
        return rows.annotate(message_count=Count("messages", distinct=True))

    @admin.display(description=_("messages"), ordering="message_count")
    def messages(self, session: Session) -> int:
        return session.message_count  # type: ignore[attr-defined,no-any-return]


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    list_display = (
        "preview",
        "role",
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
        "content",
        "session__title",
        "=id",
    )
    autocomplete_fields = (
        "session",
        "parent",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows: QuerySet[Message] = super().get_queryset(request)
        return rows.annotate(generation_count=Count("generations"))

    @admin.display(description=_("content"), ordering="content")
    def preview(self, message: Message) -> str:
        return message.content[:PREVIEW] or "-"

    @admin.display(description=_("generations"), ordering="generation_count")
    def generations(self, message: Message) -> int:
        return message.generation_count  # type: ignore[attr-defined,no-any-return]


@admin.register(File)
class FileAdmin(RecordAdmin):
    """Without the text, of which there can be much. One that a message has goes with it."""

    list_display = ("name", "owner", "kind", "size", "characters", "tokens", "created_at")
    list_filter = ("kind", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username", "=sha256")
    exclude = ("text", "text_size", "places", "waiting_since")

    def get_queryset(self, request: HttpRequest) -> QuerySet[File]:
        return super().get_queryset(request).defer("text", "places")  # type: ignore[no-any-return]


@admin.register(Feedback)
class FeedbackAdmin(RecordAdmin):
    list_display = (
        "__str__",
        "owner",
        "message",
        "updated_at",
    )
    list_filter = (
        "value",
        "updated_at",
    )
    list_select_related = (
        "owner",
        "message",
    )
    search_fields = (
        "comment",
        "message__content",
        "owner__username",
    )
    autocomplete_fields = ("message",)


@admin.register(Generation)
class GenerationAdmin(RecordAdmin):
    """Whoever may not read messages sees how answers ran, and nothing that says what they say: no
    token ids, which are the text, and no title, which is the beginning of one."""

    TELLING = (
        "session",
        "message",
        "prompt_ids",
        "output_ids",
        "token_offsets",
        "prompt_token_ids",
        "output_token_ids",
        "request",
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
        "session__title",
        "model",
    )
    autocomplete_fields = (
        "session",
        "message",
    )
    readonly_fields = (
        "prompt_token_ids",
        "output_token_ids",
        "trace",
    )
    trace = trace_link

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        rows: QuerySet[Generation] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "chat_generation_changelist":
            return rows.defer("prompt_ids", "output_ids", "token_offsets")
        return rows

    def _without_texts(self, request: HttpRequest, names: Any) -> Any:
        if request.user.has_perm("chat.view_message"):
            return names
        return tuple(name for name in names if name.partition("__")[0] not in self.TELLING)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self._without_texts(request, super().get_fields(request, obj))

    def get_list_display(self, request: HttpRequest) -> Any:
        return self._without_texts(request, super().get_list_display(request))

    def get_search_fields(self, request: HttpRequest) -> Any:
        return self._without_texts(request, super().get_search_fields(request))

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.view_message")

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

    @admin.display(description=_("prompt token ids"))
    def prompt_token_ids(self, generation: Generation) -> SafeString:
        return _ids(generation.prompt_ids)

    @admin.display(description=_("output token ids"))
    def output_token_ids(self, generation: Generation) -> SafeString:
        return _ids(generation.output_ids)


def _ids(packed: bytes | memoryview) -> SafeString:
    return format_html("<code>{}</code>", " ".join(map(str, unpack(packed))))
