"""Who calls. The one seam between the API and how people are known here."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.utils import check_csrf

from chat import identity
from chat.database import in_database
from chat.errors import ChatError


class ForgedForm(ChatError):
    code = "permission_denied"
    status = 403

    def __init__(self) -> None:
        super().__init__(_("The CSRF token is missing or wrong."))


@dataclass(frozen=True, slots=True)
class Caller:
    """tenant: whom the engine's fairness counts a request for."""

    tenant: str


async def caller_of(request: HttpRequest) -> Caller:
    """In local mode everybody is the local user, whatever key a client sends along. With accounts
    it is who has signed in. Raises NotSignedIn, ForgedForm."""
    owner = await in_database(identity.owner_id, await request.auser())
    if not settings.TINYLLM_LOCAL and check_csrf(request) is not None:
        raise ForgedForm
    return Caller(str(owner))
