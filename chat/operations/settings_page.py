"""/admin/settings/: every setting with its value and where it came from; some can be changed."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from chat import engine, live_settings
from chat.database import write_database
from chat.errors import ChatError, wire
from chat.operations.rights import admin_page, answer, page
from inference.errors import EngineError

LOOK, CHANGE = "chat.view_sitesetting", "chat.change_sitesetting"


@page(LOOK)
@require_GET
def settings_page(request: HttpRequest) -> HttpResponse:
    shown = {
        "rows": live_settings.setting_rows(),
        "may_change": request.user.has_perm(CHANGE),
        "sources": {
            "default": _("default"),
            "file": _("the file .env"),
            "environment": _("environment"),
            "admin": _("admin"),
        },
    }
    return admin_page(request, "admin/chat/settings.html", _("Settings"), shown)


@answer(CHANGE)
@require_POST
async def change_setting(request: HttpRequest) -> HttpResponse:
    """Set a value, or take the admin's away; what holds then."""
    name, text = request.POST.get("name", ""), request.POST.get("value", "")
    try:
        await write_database(live_settings.setting_change, name=name, text=text)
        if name == "TINYLLM_KEEP_ALIVE_S":
            engine.client().keep_alive(live_settings.value(name))
    except (ChatError, EngineError) as error:
        told = wire(error)
        return JsonResponse({"error": told.message}, status=told.status)
    rows = await write_database(live_settings.setting_rows)
    return JsonResponse(asdict(next(row for row in rows if row.name == name)))
