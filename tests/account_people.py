"""People with passwords in front of a site with accounts, as browsers without scripts."""

from __future__ import annotations

import re
from typing import Any

from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.test import Client

from chat.models import User

PASSWORD = "correct horse battery"


def sign_in(client: Client, login: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/account/login/", {"login": login, "password": password, **more})


def signed_in(user: User) -> Client:
    """By password, as a person does: the session knows how."""
    client = Client()
    assert sign_in(client, user.username).status_code == 302
    return client


def prove(client: Client) -> None:
    answer = client.post("/account/reauthenticate/", {"password": PASSWORD})
    assert answer.status_code == 302


def code_for(secret: str) -> str:
    counter = next(iter(yield_hotp_counters_from_time()))
    return str(format_hotp_value(hotp_value(secret, counter)))


def enrol(client: Client) -> tuple[str, list[str]]:
    """Turn the app on. Returns its secret and the recovery codes."""
    page = client.get("/account/2fa/totp/activate/").content.decode()
    found = re.search(r'id="totp-key">(\w+)<', page)
    assert found
    done = client.post("/account/2fa/totp/activate/", {"code": code_for(found[1])}, follow=True)
    return found[1], re.findall(r"<code>(\d+)</code>", done.content.decode())
