"""The page behind a share link: for whoever has it, without signing in, and no search engine."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from chat.models import ShareLink
from chat.rendering import render_blocks
from chat.share_links import share_link_of_token
from inference.types import ModelKind

HEADERS = {
    "X-Robots-Tag": "noindex, nofollow",
    # The address is the key: no other site is to learn it from a link that is followed here.
    "Referrer-Policy": "no-referrer",
    # A link that was revoked shows nothing, in no cache either.
    "Cache-Control": "no-store",
}


@require_GET
@login_not_required
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """One answer for a link that never was, has ended, or was revoked."""
    link = share_link_of_token(token=token)
    if link is None:
        return _privately(request, "chat/shared_gone.html", {}, status=404)
    return _privately(request, "chat/shared.html", {"link": link, "messages": _shown(link)})


def _privately(
    request: HttpRequest, template: str, context: dict[str, object], status: int = 200
) -> HttpResponse:
    answer = render(request, template, context, status=status)
    for name, value in HEADERS.items():
        answer[name] = value
    return answer


def _shown(link: ShareLink) -> list[dict[str, object]]:
    return [
        {**message, "blocks": _blocks(message["text"]) if _is_markdown(link, message) else []}
        for message in link.messages
    ]


def _is_markdown(link: ShareLink, message: dict[str, str]) -> bool:
    return message["role"] == "assistant" and link.kind == ModelKind.CHAT


def _blocks(text: str) -> list[str]:
    return [mark_safe(block) for block in render_blocks(text)]  # noqa: S308 - it sanitises
