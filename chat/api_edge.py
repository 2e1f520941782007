"""What holds for every address of the API of the pages: bodies are JSON, and so is every refusal.

A body of another content type is refused before it is read: a page of another site can send a
form or plain text without asking the browser first, but not JSON. Files alone come as a form; whose
page sent them is told by its origin (`chat.guard`) and, with accounts, by its CSRF token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from chat.addresses import in_api
from chat.errors import WireError

_UPLOADS = "files"
_AROUND = 100_000
"""Bytes of a form that are not the file's."""
# A page of another site cannot send a zip file either without asking the browser first.
TYPES = {"import": ("application/json", "application/zip")}
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal_error",
}


class ApiEdgeMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        if refused := _refusal(request):
            return refused
        return _in_envelope(request, cast(HttpResponseBase, self.get_response(request)))

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if refused := _refusal(request):
            return refused
        answer = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        return _in_envelope(request, answer)


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    endpoint = in_api(request)
    if endpoint is None or request.method in ("GET", "HEAD", "OPTIONS"):
        return None
    length = request.headers.get("content-length") or "0"
    if endpoint == _UPLOADS and request.content_type == "multipart/form-data":
        return _too_large(length)
    has_body = length != "0" or "transfer-encoding" in request.headers
    accepted = TYPES.get(endpoint, ("application/json",))
    if request.content_type in accepted or not (has_body or request.content_type):
        return None
    return _envelope(
        415,
        "unsupported_media_type",
        _("The body must be application/json, not %(type)s.")
        % {"type": repr(request.content_type)[:100]},
    )


def _too_large(length: str) -> HttpResponseBase | None:
    """Before the form is taken apart."""
    limit = settings.TINYLLM_FILE_MB * 1_000_000 + _AROUND
    if length.isdigit() and int(length) <= limit:
        return None
    told = _("The body is too large: at most %(limit)d bytes are read.") % {"limit": limit}
    return _envelope(413, "body_too_large", told)


def _in_envelope(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    """Django's own error pages (404, 405, bad host, ...) as JSON, keeping their headers."""
    is_ours = answer.get("content-type", "").startswith("application/json")
    if answer.status_code < 400 or is_ours or in_api(request) is None:
        return answer
    status = answer.status_code
    phrase = f"{HTTPStatus(status).phrase}: {request.method} {request.path}"
    told = _envelope(status, _CODES.get(status, "error"), phrase)
    if "Allow" in answer:
        told["Allow"] = answer["Allow"]
    return told


def _envelope(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse(WireError(code, message, status, False, {}).envelope(), status=status)
