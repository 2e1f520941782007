"""Who may open an operator's page and have its questions answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from chat.database import in_database

P = ParamSpec("P")
VIEW, OPERATE = "chat.view_engine", "chat.operate_engine"
BREAK_GLASS = "chat.break_glass"

Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
Answer = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


def page(permission: str) -> Callable[[Page[P]], Any]:
    """A page of the admin: who is not signed in is asked to, who has no right is refused."""

    def wrap(view: Page[P]) -> Any:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return admin.site.admin_view(guarded)

    return wrap


def answer(permission: str) -> Callable[[Answer[P]], Answer[P]]:
    """What a page asks for: on the event loop, where the engine is. Refusals are JSON too."""

    def wrap(view: Answer[P]) -> Answer[P]:
        @wraps(view)
        async def guarded(
            request: HttpRequest, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            user = await request.auser()
            if not await in_database(_may, user, permission):
                return JsonResponse({"error": _("You may not do this.")}, status=403)
            return await view(request, *args, **kwargs)

        return cast(Answer[P], guarded)

    return wrap


def _may(user: Any, permission: str) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perm(permission))


def admin_page(
    request: HttpRequest, template: str, title: str, context: dict[str, Any]
) -> HttpResponse:
    """In the admin's frame."""
    site = admin.site.each_context(request)
    return render(request, template, {**site, "title": title, **context})
