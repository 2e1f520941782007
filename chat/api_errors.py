"""How every API under /api/ refuses: one shape, `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from chat.errors import ChatError, InvalidRequest, WireError, wire
from chat.usage import refusal_headers
from inference.errors import EngineError

NotFound = Callable[[object], ChatError]


def refusal(error: WireError) -> HttpResponse:
    return JsonResponse(error.envelope(), status=error.status, headers=refusal_headers(error))


def answer_errors(api: NinjaAPI, ids: Mapping[str, NotFound] | None = None) -> None:
    """Let `api` answer every error in this way. ids: by the name that an address has for an id,
    what is said of one that no id can be."""
    known = ids or {}

    def on_error(request: HttpRequest, error: Exception) -> HttpResponse:
        return refusal(wire(error))

    def on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        first = error.errors[0]
        source, *names = (str(part) for part in first["loc"])
        if source == "path" and names[-1] in known:
            assert request.resolver_match is not None
            given = request.resolver_match.kwargs[names[-1]]
            return refusal(wire(known[names[-1]](str(given)[:100])))
        param = ".".join(names[1:] if source == "body" else names) or None
        return refusal(wire(InvalidRequest(f"{param}: {first['msg']}", param=param)))

    def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
        code = "permission_denied" if error.status_code == 403 else "invalid_request"
        return refusal(WireError(code, str(error), error.status_code, False, {}))

    def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        message = _("The body is too large: at most %(limit)d bytes are read.") % {
            "limit": settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        }
        return refusal(WireError("body_too_large", message, 413, False, {}))

    for kind in (ChatError, EngineError, Exception):
        api.exception_handler(kind)(on_error)
    api.exception_handler(ValidationError)(on_invalid)
    api.exception_handler(HttpError)(on_http_error)
    api.exception_handler(RequestDataTooBig)(on_too_big)
