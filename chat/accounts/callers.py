"""Who asks an API, and whether he may: by a token, or as the person who is signed in.

    caller = await caller_of(request, scope=Scope.CHAT)

A request with a token needs no CSRF token and no Origin, and its cookies count for nothing: what
a page of another site can make a browser send is cookies, never a token. In local mode a token is
accepted, whatever it says, since none is needed: clients of other APIs insist on sending one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from ninja.utils import check_csrf

from chat import identity
from chat.accounts import access
from chat.accounts.errors import CsrfFailed, StaffOnly
from chat.accounts.tokens import Scope, token_use
from chat.database import in_database
from chat.errors import NotSignedIn

_SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class Caller:
    """token_id: of the token that was shown, None for a person at a page."""

    owner_id: uuid.UUID
    is_staff: bool
    token_id: uuid.UUID | None = None


def bearer(request: HttpRequest) -> str | None:
    """The token that a request shows, which may be empty; None where it shows none. Anthropic's
    clients have a header of their own for it."""
    if (key := request.headers.get("x-api-key")) is not None:
        return key.strip()
    scheme, _, text = request.headers.get("authorization", "").strip().partition(" ")
    return text.strip() if scheme.lower() == _SCHEME else None


def scope_of(request: HttpRequest) -> Scope:
    """What a method needs where an endpoint does not say."""
    return Scope.READ if request.method in ("GET", "HEAD") else Scope.CHAT


async def caller_of(request: HttpRequest, *, scope: Scope | None = None) -> Caller:
    """Raises NotSignedIn, CsrfFailed, StaffOnly, and what `token_use` does."""
    scope = scope or scope_of(request)
    caller = await _caller(request, scope)
    if scope is Scope.ADMIN and not caller.is_staff:
        raise StaffOnly
    return caller


async def check_again(request: HttpRequest) -> None:
    """For an answer that lasts: raises as `caller_of` does where its caller has lost the right to
    it since."""
    if settings.TINYLLM_LOCAL:
        return
    text = bearer(request)
    if text is not None:
        await in_database(token_use, text=text, scope=scope_of(request))
        return
    shown = {"session": request.session, "user": await request.auser()}
    if not await in_database(access.is_still_signed_in, shown):
        raise NotSignedIn


async def _caller(request: HttpRequest, scope: Scope) -> Caller:
    if settings.TINYLLM_LOCAL:
        return Caller((await in_database(identity.local_user)).pk, is_staff=True)
    text = bearer(request)
    if text is not None:
        token = await in_database(token_use, text=text, scope=scope)
        return Caller(token.owner_id, token.owner.is_staff, token.pk)
    user = await request.auser()
    owner_id = await in_database(identity.owner_id, user)
    if check_csrf(request) is not None:
        raise CsrfFailed
    return Caller(owner_id, bool(user.is_staff))


def owner_of(request: HttpRequest) -> uuid.UUID:
    """Whom an endpoint of ours answers, once `caller_of` has let the request in."""
    owner: uuid.UUID = request.auth  # type: ignore[attr-defined]
    return owner
