"""With accounts, every page of ours wants a person who is signed in, unless its view says otherwise
with `login_not_required`: a view that nobody thought about is closed. In local mode nobody signs
in, and the pages for that are not there: nobody gives the local user a password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import Http404, HttpRequest, HttpResponseBase

from chat import addresses

DOCUMENTS = ("docs", "openapi.json", "v1/docs", "v1/openapi.json")
"""Pages of the API, which no endpoint's check covers. Every endpoint there asks
`chat.accounts.callers` and refuses in JSON, not with a form."""


class SignInMiddleware(LoginRequiredMiddleware):
    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        if not addresses.is_ours(request):
            return None
        if settings.TINYLLM_LOCAL:
            if addresses.in_accounts(request):
                raise Http404
            return None
        endpoint = addresses.in_api(request)
        if endpoint is not None and endpoint not in DOCUMENTS:
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)
