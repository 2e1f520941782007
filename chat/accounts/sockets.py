"""Who is at a websocket: the owner of the token that its handshake shows, or whoever is signed in
at its page. No page can make a browser show a token there."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from chat import identity
from chat.accounts import access
from chat.accounts.callers import bearer
from chat.accounts.tokens import Scope, token_use
from chat.database import in_database
from chat.errors import ChatError

CHECK_EVERY_S = 30.0
"""How often a token is looked at again: nobody tells of one that has expired."""


def token_of(scope: dict[str, Any]) -> str | None:
    """None: it shows none, or none is needed."""
    if settings.TINYLLM_LOCAL:
        return None
    request = HttpRequest()
    for name, value in scope["headers"]:
        if name in (b"authorization", b"x-api-key"):
            key = name.decode().upper().replace("-", "_")
            request.META[f"HTTP_{key}"] = value.decode("latin-1")
    return bearer(request)


async def owner_of_socket(scope: dict[str, Any]) -> uuid.UUID:
    """Raises NotSignedIn, and what `token_use` does."""
    text = token_of(scope)
    if text is None:
        return await in_database(identity.owner_id, scope.get("user"))
    return (await in_database(token_use, text=text, scope=Scope.CHAT)).owner_id


async def may_stay(scope: dict[str, Any]) -> bool:
    """Whether it would be let in again."""
    text = token_of(scope)
    if text is None:
        return await in_database(access.is_still_signed_in, scope)
    try:
        await in_database(token_use, text=text, scope=Scope.CHAT)
    except ChatError:
        return False
    return True
