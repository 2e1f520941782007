"""The operators' part of the admin's sidebar, as django-unfold wants it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import escape
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from chat.operations.rights import VIEW
from chat.operations.settings_page import LOOK


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Each link only for those who may open it."""
    links = [
        (VIEW, _("Engine"), "monitoring", "operations:engine"),
        (VIEW, _("Models"), "deployed_code", "operations:models"),
        (VIEW, _("Traces"), "timeline", "operations:traces"),
        (LOOK, _("Settings"), "tune", "operations:settings"),
    ]
    items = [
        {"title": title, "icon": icon, "link": reverse(name)}
        for right, title, icon, name in links
        if request.user.has_perm(right)
    ]
    own = [{"title": _("Operation"), "items": items}] if items else []
    return [*own, *map(_group, admin.site.get_app_list(request))]


def _group(app: Any) -> dict[str, Any]:
    """The models of an app, which unfold lists by itself only where it has no other list."""
    items = [
        {"title": escape(capfirst(model["name"])), "link": model["admin_url"]}
        for model in app["models"]
        if model.get("admin_url")
    ]
    return {"title": app["name"], "separator": True, "items": items}
