"""What a person can have of their own."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_GET

from chat import identity
from chat.database import in_database
from chat.models import sessions_of
from chat.privacy.break_glass import opened_last, opened_sessions
from chat.privacy.own_data import archive
from chat.privacy.retention import kept_for

MOST = 100
"""Accesses that are listed; all of them are in the archive."""


@require_GET
def own_data(request: HttpRequest) -> HttpResponse:
    """How long what is kept of a person is kept, who else read it, and the way to have it."""
    owner = identity.owner_id(request.user)
    shown = {
        "kept": kept_for(owner_id=owner),
        "opened": opened_sessions(owner_id=owner)[:MOST],
        "has_accounts": not settings.TINYLLM_LOCAL,
    }
    answer = render(request, "chat/my_data.html", shown)
    answer["Cache-Control"] = "no-store"
    return answer


@require_GET
def opened(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """The note above one's own conversation that says who read it last; empty where nobody did."""
    found = sessions_of(identity.owner_id(request.user)).filter(id=session_id).first()
    if found is None:
        raise Http404
    html = render_to_string("chat/opened.html", {"opened": opened_last(session=found)}, request)
    return JsonResponse({"html": html}, headers={"Cache-Control": "no-store"})


@require_GET
async def own_archive(request: HttpRequest) -> HttpResponseBase:
    """All of it, as a zip file."""
    owner = await in_database(identity.owner_id, await request.auser())
    name = f"tinyllm-{timezone.now():%Y-%m-%d}.zip"
    return StreamingHttpResponse(
        archive(owner_id=owner),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )
