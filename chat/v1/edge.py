"""What holds at every address of the API: who calls, what a body is, and how a refusal looks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from chat.accounts.callers import Caller, caller_of
from chat.accounts.tokens import Scope
from chat.errors import ShuttingDown
from chat.generation import turns
from chat.v1.bodies import warning
from chat.v1.errors import WrongMediaType, WrongMethod, envelope, on_the_wire, refused

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
Envelope = Callable[[Any], dict[str, Any]]


def endpoint(method: str, told: Envelope = envelope) -> Callable[[View], View]:
    """A view of an `async def answer(request, caller, ...)`. It answers one method; a body is
    JSON, since a page of another site can send other kinds without asking the browser first. told:
    how an error is written."""

    def decorate(answer: View) -> View:
        # Refused in JSON by who calls, not with a form to sign in.
        @login_not_required
        @csrf_exempt
        @wraps(answer)
        async def view(request: HttpRequest, **path: Any) -> HttpResponseBase:
            try:
                _check(request, method)
                if method == "POST" and not turns().accepts:
                    raise ShuttingDown
                return await answer(request, await caller_of(request, scope=Scope.CHAT), **path)
            except Exception as error:
                wired = on_the_wire(error)
                response = refused(told(wired), wired)
                if isinstance(error, WrongMethod):
                    response["Allow"] = method
                return response

        return view

    return decorate


def by_method(**views: View) -> View:
    """One address that answers several methods, each with an endpoint of its own. Another method
    is answered by the first one, which refuses it."""
    first = next(iter(views.values()))

    @csrf_exempt
    async def view(request: HttpRequest, **path: Any) -> HttpResponseBase:
        chosen = views.get(request.method or "", first)
        response = await chosen(request, **path)
        if response.status_code == 405:
            response["Allow"] = ", ".join(views)
        return response

    return view


def named(response: HttpResponseBase, unknown: list[str]) -> HttpResponseBase:
    """The response, with the fields that were ignored in its header."""
    if unknown:
        response["warnings"] = warning(unknown)
    return response


def request_name(request: HttpRequest) -> str:
    """The request's id, the caller's own where it sent one."""
    name: str = request.request_id  # type: ignore[attr-defined]
    return name


def _check(request: HttpRequest, method: str) -> None:
    """Raises WrongMethod, WrongMediaType."""
    if request.method != method and not (method == "GET" and request.method == "HEAD"):
        raise WrongMethod(method)
    if method == "POST" and request.content_type != "application/json":
        raise WrongMediaType(request.content_type or "")


__all__ = ["Caller", "endpoint", "named", "request_name"]
