"""Where an account is signed in, and how to end that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.internal.flows.sessions import end_other_sessions
from allauth.usersessions.models import UserSession
from django.http import HttpRequest

from chat.models import User

# In this order: Edge and Chrome call themselves Safari too, and Edge calls itself Chrome.
_BROWSERS = re.compile(r"(Firefox|Edg|OPR|Chrome|Safari)[/\w]")
_SYSTEMS = re.compile(r"(iPhone|iPad|Android|Windows|Macintosh|Linux)")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Macintosh": "macOS"}


@dataclass(frozen=True, slots=True)
class SignedIn:
    """browser: as far as it can be told, or the beginning of what it says of itself."""

    browser: str
    address: str
    since: datetime
    is_this: bool


def signed_in(*, user: User) -> list[SignedIn]:
    """The newest first. Those that have ended are forgotten on the way."""
    rows = UserSession.objects.purge_and_list(user)
    found = [SignedIn(_name(r.user_agent), r.ip, r.created_at, r.is_current()) for r in rows]
    return sorted(found, key=lambda each: each.since, reverse=True)


def sign_out_elsewhere(*, request: HttpRequest, user: User) -> None:
    end_other_sessions(request, user)


def _name(agent: str) -> str:
    browsers, system = _BROWSERS.findall(agent), _SYSTEMS.search(agent)
    order = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
    browser = next((each for each in order if each in browsers), "")
    parts = [_NAMES.get(each, each) for each in (browser, system[1] if system else "") if each]
    return ", ".join(parts) or agent[:60] or "?"
