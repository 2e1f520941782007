"""Refusals of the API beside those of the site, and every error as OpenAI's clients read it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import JsonResponse
from django.utils.translation import gettext as _

from chat.errors import ChatError, InvalidRequest, WireError, wire
from chat.usage import refusal_headers

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_PARAMS = {
    "model_not_found": "model",
    "model_unavailable": "model",
    "model_invalid": "model",
    "model_not_generative": "model",
    "context_length_exceeded": "messages",
}


class UnsupportedField(InvalidRequest):
    """A field that we know and cannot obey yet. Fields: param."""

    code = "unsupported_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(
            _("%(name)s is not supported here with this value. Leave it out.") % {"name": param},
            param=param,
        )


class UnsupportedContent(InvalidRequest):
    """Content other than text. Fields: param, kind."""

    code = "unsupported_content"

    def __init__(self, param: str, kind: str) -> None:
        super().__init__(
            _("%(name)s is of the type %(kind)s. This model reads text only.")
            % {"name": param, "kind": repr(kind)[:100]},
            param=param,
            kind=kind[:100],
        )


class WrongMediaType(ChatError):
    code = "unsupported_media_type"
    status = 415

    def __init__(self, given: str) -> None:
        super().__init__(
            _("The body must be application/json, not %(type)s.") % {"type": repr(given)[:100]}
        )


class WrongMethod(ChatError):
    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str) -> None:
        super().__init__(_("This address answers %(method)s only.") % {"method": method})


class TurnFailed(Exception):
    """A turn that was begun for a call has failed, and its row says so. told: how."""

    def __init__(self, told: WireError) -> None:
        super().__init__(told.message)
        self.told = told


class NoSuchAddress(ChatError):
    code = "not_found"
    status = 404

    def __init__(self, path: str) -> None:
        super().__init__(_("There is nothing at %(path)s.") % {"path": path[:200]})


def on_the_wire(error: BaseException) -> WireError:
    """As `chat.errors.wire`, and a body that is too large, and what a turn was told already."""
    if isinstance(error, TurnFailed):
        return error.told
    if isinstance(error, RequestDataTooBig):
        message = _("The body is too large: at most %(limit)d bytes are read.") % {
            "limit": settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        }
        return WireError("body_too_large", message, 413, False, {})
    return wire(error)


def envelope(error: WireError) -> dict[str, Any]:
    """{"error": {message, type, param, code}}."""
    kind = _TYPES.get(error.status, "invalid_request_error")
    if error.status >= 500:
        kind = "server_error"
    # the engine says "prompt token" of a token of the prompt
    param = (error.fields.get("param") or "").partition(" ")[0] or _PARAMS.get(error.code)
    told = {"message": error.message, "type": kind, "param": param, "code": error.code}
    return {"error": told}


def refused(body: dict[str, Any], error: WireError) -> JsonResponse:
    return JsonResponse(body, status=error.status, headers=refusal_headers(error))
