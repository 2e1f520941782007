"""The page itself, and the source files that it points to, as they are on this machine."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from chat import engine, identity
from chat.errors import NotSignedIn
from chat.highlighting import highlight_code
from chat.learn.steps import SOURCES, STEPS
from chat.learn.strings import learn_strings
from inference.errors import EngineStopped
from inference.types import ModelInfo

DEFAULT = "story"
_ROOT = Path(__file__).resolve().parents[2]


@require_GET
@ensure_csrf_cookie
def learn(request: HttpRequest) -> HttpResponse:
    if answer := _sign_in(request):
        return answer
    models = sorted(_ready(), key=lambda model: model.name != DEFAULT)
    return render(
        request,
        "chat/learn.html",
        {"steps": STEPS, "models": models, "strings": learn_strings()},
    )


@require_GET
def source(request: HttpRequest, path: str) -> HttpResponse:
    """A file of this codebase that a step points to; no other one."""
    if answer := _sign_in(request):
        return answer
    if path not in SOURCES:
        raise Http404
    text = (_ROOT / path).read_text(encoding="utf-8")
    # what is highlighted is our own file, and escaped
    code = mark_safe(highlight_code(text, "python"))  # noqa: S308
    return render(request, "chat/learn_source.html", {"path": path, "code": code})


def _sign_in(request: HttpRequest) -> HttpResponse | None:
    try:
        identity.owner_id(request.user)
    except NotSignedIn:
        return redirect_to_login(request.get_full_path())
    return None


def _ready() -> list[ModelInfo]:
    try:
        return [model for model in engine.client().models() if model.state == "ready"]
    except EngineStopped:
        return []
