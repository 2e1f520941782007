"""What every request passes: a request id from the way in to the way out, and local mode's user."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from chat.addresses import in_admin
from chat.identity import local_user
from chat.tracing.recorder import arrived

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(offered: str | None = None) -> str:
    """The caller's own id where it is harmless in a log, else a new one."""
    return offered if offered and _ACCEPTED.fullmatch(offered) else uuid.uuid4().hex


class RequestIdMiddleware:
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
        with structlog.contextvars.bound_contextvars(request_id=self._id(request)):
            return self._marked(request, cast(HttpResponseBase, self.get_response(request)))

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        with structlog.contextvars.bound_contextvars(request_id=self._id(request)):
            what = f"{request.method} {request.path_info}"
            arrived(self._id_of(request), what, request.headers.get("traceparent", ""))
            answer = cast(Awaitable[HttpResponseBase], self.get_response(request))
            return self._marked(request, await answer)

    @staticmethod
    def _id_of(request: HttpRequest) -> str:
        return cast(str, request.request_id)  # type: ignore[attr-defined]

    @staticmethod
    def _id(request: HttpRequest) -> str:
        request.request_id = request_id(request.headers.get("x-request-id"))  # type: ignore[attr-defined]
        return cast(str, request.request_id)  # type: ignore[attr-defined]

    @staticmethod
    def _marked(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
        answer["x-request-id"] = request.request_id  # type: ignore[attr-defined]
        return answer


class LocalUserMiddleware:
    """In local mode the pages belong to the one local user. The admin keeps its own sign-in."""

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if settings.TINYLLM_LOCAL and not in_admin(request):
            request.user = SimpleLazyObject(local_user)  # type: ignore[assignment]
        return self.get_response(request)
