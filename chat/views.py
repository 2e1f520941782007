"""The pages. Finished answers arrive rendered; what is still being written follows by websocket."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.core.exceptions import ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseServerError,
    JsonResponse,
)
from django.shortcuts import redirect, render
from django.template.loader import get_template, render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_http_methods

from chat import engine, identity, live_settings, message_window, selectors
from chat import setup as first_setup
from chat.branches import branch_show
from chat.encryption import keys
from chat.encryption.search import NEWEST
from chat.errors import ChatError, MessageNotFound, SessionNotFound, SetupLinkInvalid, wire
from chat.files.page_state import file_limits, file_strings
from chat.forks import fork_origin
from chat.models import Session
from chat.page_strings import page_strings
from chat.privacy.break_glass import opened_last
from chat.rendering import render_blocks
from chat.session_pages import PAGE, session_page
from chat.session_settings.panel import defaults_of, panel
from chat.session_settings.presets import default_settings
from inference.errors import EngineStopped
from inference.types import ModelInfo, ModelKind

_ALWAYS_OFFERED = ("chat", "story")


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message as the template shows it: blocks of safe HTML, or, without blocks, its text."""

    id: uuid.UUID
    role: str
    text: str
    blocks: list[SafeString]


@require_GET
@ensure_csrf_cookie
def new_session(request: HttpRequest) -> HttpResponse:
    return _page(request, None)


@require_GET
@ensure_csrf_cookie
def session(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    return _page(request, session_id)


def _page(request: HttpRequest, session_id: uuid.UUID | None) -> HttpResponse:
    try:
        owner = identity.owner_id(request.user)
        found = _found(request, owner, session_id) if session_id else None
    except SessionNotFound as error:
        raise Http404(error.message) from None
    first = _id(request.GET.get("message") or request.GET.get("from"))
    answer = render(request, "chat/page.html", _context(owner, found, first))
    # The back button must bring the conversation as it is now, not as it was.
    answer["Cache-Control"] = "no-store"
    return answer


def _found(request: HttpRequest, owner: uuid.UUID, session_id: uuid.UUID) -> selectors.Conversation:
    """With the message that the address asks for, say because the search has found it: its branch
    is shown from then on."""
    wanted = _id(request.GET.get("message"))
    if wanted:
        with suppress(MessageNotFound):
            branch_show(owner_id=owner, session_id=session_id, message_id=wanted)
    return selectors.conversation(owner_id=owner, session_id=session_id)


def _id(text: str | None) -> uuid.UUID | None:
    """Of an address, which anyone may have written."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None


@require_GET
def earlier(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """The messages in front of the one that the address names, as the page has them."""
    try:
        owner = identity.owner_id(request.user)
        found = selectors.conversation(owner_id=owner, session_id=session_id)
        following = _id(request.GET.get("before"))
        if following is None:
            raise MessageNotFound(request.GET.get("before", ""))
        window = message_window.before(found.messages, following)
    except ChatError as error:
        told = wire(error)
        return JsonResponse(told.envelope(), status=told.status)
    models = _models()
    rows = [_row(message, _kind(models, found.session)) for message in window.messages]
    context = {"messages": rows, "several_models": _several(models)}
    answer = {
        "html": render_to_string("chat/messages.html", context, request),
        "messages": [_state(message) for message in window.messages],
        "before": window.before,
    }
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def _kind(models: list[ModelInfo], session: Session | None) -> ModelKind:
    model = next((each for each in models if session and each.name == session.model), None)
    return model.kind if model else ModelKind.CHAT


def _several(models: list[ModelInfo]) -> bool:
    return sum(each.state == "ready" for each in models) > 1


def _context(
    owner: uuid.UUID, conversation: selectors.Conversation | None, first: uuid.UUID | None
) -> dict[str, Any]:
    """first: a message that is to be on the page."""
    models = _models()
    current = conversation.session if conversation else None
    kind = _kind(models, current)
    window = message_window.newest(conversation.messages if conversation else [], first)
    messages = [*window.messages]
    if conversation and conversation.live_message:
        # As far as it is saved; the rest, and what was written over it, follows by websocket.
        messages.append(conversation.live_message)
    return {
        "session": current,
        "origin": fork_origin(session=current) if current else None,
        "opened": opened_last(session=current) if current else None,
        "sessions": session_page(owner_id=owner),
        "page_size": PAGE,
        "searched": NEWEST if keys.is_on() else 0,
        "models": [each for each in models if _is_offered(each)],
        "default_model": live_settings.value("TINYLLM_DEFAULT_MODEL"),
        "several_models": _several(models),
        "kind": kind if current else "",
        "messages": [_row(message, kind) for message in messages],
        "before": window.before,
        "after": conversation.after if conversation else 0,
        "panel": panel(),
        "page_state": {
            "session": {"id": current.id, "model": current.model} if current else None,
            "settings": (current.settings or {}) if current else default_settings(owner_id=owner),
            "models": [_described(each) for each in models],
            "messages": [_state(message) for message in messages],
            "before": window.before,
            "running": conversation.running if conversation else None,
            "files": file_limits(),
        },
        "has_accounts": not settings.TINYLLM_LOCAL,
        "local": settings.TINYLLM_LOCAL,
        "strings": page_strings() | file_strings(),
    }


def _models() -> list[ModelInfo]:
    try:
        return engine.client().models()
    except EngineStopped:  # reading old sessions needs no engine
        return []


def _is_offered(model: ModelInfo) -> bool:
    return model.state == "ready" or model.name in _ALWAYS_OFFERED


def _described(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "kind": model.kind,
        "languages": model.languages,
        "ready": model.state == "ready",
        "defaults": defaults_of(model),
    }


def _row(message: selectors.MessageView, kind: ModelKind) -> MessageRow:
    is_markdown = message.role == "assistant" and kind is ModelKind.CHAT
    blocks = render_blocks(message.content) if is_markdown else []
    # render_blocks sanitises: this is the one place where HTML that is not ours is trusted.
    safe = [mark_safe(block) for block in blocks]  # noqa: S308
    return MessageRow(message.id, message.role, message.content, safe)


def _state(message: selectors.MessageView) -> dict[str, Any]:
    """What the page's JavaScript knows of a message: its exact text and its numbers."""
    state = asdict(message)
    state["text"] = state.pop("content")
    return state


class FirstAdminForm(forms.Form):
    username = forms.CharField(label=_("Name"), max_length=150)
    password = forms.CharField(
        label=_("Password"),
        help_text=password_validators_help_text_html(),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@login_not_required
@require_http_methods(["GET", "POST"])
@never_cache
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """The one-time link that `serve` prints makes the first administrator."""
    if not first_setup.setup_token_is_valid(token=token):
        return render(request, "chat/setup_used.html", status=404)
    form = FirstAdminForm(request.POST or None)
    if form.is_valid():
        try:
            first_setup.create_first_admin(token=token, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        except SetupLinkInvalid:  # somebody else used it a moment ago
            return render(request, "chat/setup_used.html", status=404)
        else:
            return redirect("admin:index")
    return render(request, "chat/setup.html", {"form": form})


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's own leaves out the request, and with it the nonce of the page's script. No context
    processors here: what they ask may be what broke."""
    return HttpResponseServerError(get_template("500.html").render({"request": request}))
