"""/admin/conversations/<id>/: one conversation to read, for who has the right and said why."""

from __future__ import annotations

import uuid

from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from chat.errors import InvalidRequest, SessionNotFound
from chat.operations.rights import BREAK_GLASS, admin_page, page
from chat.privacy import break_glass as glass

MESSAGES = 200
"""On a page."""


@page(BREAK_GLASS)
@require_http_methods(["GET", "POST"])
def conversation(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """A form that asks for the reason; once it is given, the text, until the time is over."""
    assert isinstance(request.user, get_user_model())
    reader = request.user
    shown: dict[str, object] = {"minutes": glass.GOOD_FOR.seconds // 60, "most": glass.MOST}
    try:
        session = glass.session_of_somebody(session_id=session_id)
        if request.method == "POST":
            reason = shown["reason"] = request.POST.get("reason", "")
            glass.break_glass(reader=reader, session_id=session_id, reason=reason)
            return redirect("operations:conversation", session_id)
    except SessionNotFound as error:
        raise Http404(error.message) from None
    except InvalidRequest as error:
        shown["wrong"] = error.message
    opened = glass.open_now(reader=reader, session=session)
    shown |= {"id": session.id, "owner": session.owner, "opened": opened}
    if opened is not None:
        rows = Paginator(glass.messages_of(session=session), MESSAGES)
        shown |= {
            "heading": session.title,
            "system_prompt": (session.settings or {}).get("system_prompt", ""),
            "rows": rows.get_page(request.GET.get("page")),
        }
    answer = admin_page(request, "admin/chat/conversation.html", _("Conversation"), shown)
    answer.status_code = 400 if "wrong" in shown else 200
    return answer
