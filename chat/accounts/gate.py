"""With accounts, every page wants a person who is signed in, unless its view says otherwise with
`login_not_required`: a view that nobody thought about is closed. In local mode nobody signs in, and
the pages for that are not there: nobody gives the local user a password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import Http404, HttpRequest, HttpResponseBase

ACCOUNTS = "/account/"
ANSWERS_ITSELF = ("/api/", "/v1/", "/tokenize", "/detokenize", "/apply-template")
"""Every endpoint there asks `chat.accounts.callers` and refuses in JSON, not with a form."""
DOCUMENTS = ("/api/docs", "/api/openapi.json", "/api/v1/docs", "/api/v1/openapi.json")
"""Pages among them, which no endpoint's check covers."""


class SignInMiddleware(LoginRequiredMiddleware):
    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        path = request.path_info
        if settings.TINYLLM_LOCAL:
            if path.startswith(ACCOUNTS):
                raise Http404
            return None
        if path.startswith(ANSWERS_ITSELF) and path not in DOCUMENTS:
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)
