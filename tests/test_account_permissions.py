"""Every address of the site with accounts: nobody, an owner, another member, an operator and a
superuser. Endpoints of the API and frames of websockets: tests/test_chat_permissions.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from chat.accounts import links, tokens
from chat.accounts.roles import OPERATORS
from chat.accounts.tokens import Scope
from chat.models import SavedPrompt, Session, User
from chat.saved_prompts.store import prompt_keep
from chat.setup import setup_token_create
from tests.account_people import PASSWORD, prove, sign_in
from tests.test_content_policy import PAGE, policy_of

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]

PEOPLE = ("anonymous", "owner", "other", "operator", "superuser")
# What is said instead of a page: sign in first; where else to go on.
IN, HOME, ACCOUNT, PROMPTS = "/account/login/", "/", "/account/", "/prompts/"
SECOND, TOKENS, KEYS = "/account/2fa/", "/account/tokens/", "/account/2fa/webauthn/"
LOGGED_IN = (200, HOME, HOME, HOME, HOME)
ALL = (IN, 200, 200, 200, 200)
MINE = (IN, 200, 404, 404, 404)
ANYBODY = (200,) * 5
# method and path -> what each of PEOPLE gets: a status, or where they are sent. All of them are
# signed in by password and have shown it again; the owner has a passkey and recovery codes.
ANSWERS: dict[str, tuple[int | str, ...]] = {
    "GET /": ALL,
    "GET /sessions/{session}/": MINE,
    "GET /sessions/{session}/earlier/": (IN, 404, 404, 404, 404),
    "GET /sessions/{session}/opened/": MINE,
    "GET /prompts/": ALL,
    "GET /prompts/{prompt}/": MINE,
    "POST /prompts/{prompt}/versions/1/restore/": (IN, PROMPTS, 404, 404, 404),
    "POST /prompts/{prompt}/delete/": (IN, PROMPTS, 404, 404, 404),
    "GET /my-data/": ALL,
    "GET /my-data/archive/": ALL,
    "GET /learn/": ALL,
    "GET /learn/source/inference/sampler.py": ALL,
    "GET /shared/nothing/": (404,) * 5,
    "GET /healthz": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /health": ANYBODY,
    "GET /version": ANYBODY,
    "GET /metrics": (403, 403, 403, 200, 200),
    "GET /setup/{setup}/": ANYBODY,
    "POST /i18n/setlang/": (HOME,) * 5,
    "GET /account/": ALL,
    "POST /account/elsewhere/": (IN, ACCOUNT, ACCOUNT, ACCOUNT, ACCOUNT),
    "GET /account/tokens/": ALL,
    "GET /account/tokens/new/": ALL,
    "POST /account/tokens/{token}/revoke/": (IN, TOKENS, 404, 404, 404),
    "GET /account/invitation/{invitation}/": ANYBODY,
    "GET /account/password/link/{password}/": ANYBODY,
    "GET /account/login/": LOGGED_IN,
    "GET /account/logout/": (IN, 200, 200, 200, 200),
    "GET /account/inactive/": ANYBODY,
    "GET /account/signup/": LOGGED_IN,
    "GET /account/reauthenticate/": ALL,
    "GET /account/password/change/": ALL,
    "GET /account/password/set/": (IN, *("/account/password/change/",) * 4),
    "GET /account/2fa/": ALL,
    "GET /account/2fa/authenticate/": (IN, HOME, HOME, HOME, HOME),
    "GET /account/2fa/reauthenticate/": (IN, 200, *("/account/reauthenticate/",) * 3),
    "GET /account/2fa/totp/activate/": ALL,
    "GET /account/2fa/totp/deactivate/": (IN, 404, 404, 404, 404),
    "GET /account/2fa/recovery-codes/": MINE,
    "GET /account/2fa/recovery-codes/generate/": ALL,
    "GET /account/2fa/recovery-codes/download/": MINE,
    "GET /account/2fa/webauthn/": ALL,
    "GET /account/2fa/webauthn/add/": ALL,
    "GET /account/2fa/webauthn/reauthenticate/": (IN, 200, *("/account/reauthenticate/",) * 3),
    "GET /account/2fa/webauthn/keys/{key}/remove/": MINE,
    "POST /account/2fa/webauthn/keys/{key}/edit/": (IN, KEYS, 404, 404, 404),
    "GET /account/2fa/webauthn/login/": (IN, HOME, HOME, HOME, HOME),
    "GET /account/3rdparty/login/cancelled/": ANYBODY,
    "GET /account/3rdparty/login/error/": (IN, 401, 401, 401, 401),
    "GET /account/3rdparty/signup/": (IN,) * 5,
    "GET /account/3rdparty/": ALL,
    "GET /account/oidc/oidc/login/": (404,) * 5,
    "GET /account/oidc/oidc/login/callback/": (404,) * 5,
    "GET /api/docs": ALL,
    "GET /api/openapi.json": ALL,
    "GET /api/v1/docs": ALL,
    "GET /api/v1/openapi.json": ALL,
}
# Endpoints have a table of their own, and /api/ alone answers nothing.
ELSEWHERE = ("api/", "v1/", "tokenize", "detokenize", "apply-template")


class Scene:
    def __init__(self) -> None:
        self.people = {
            name: User.objects.create_user(name, "", PASSWORD, is_superuser=name == "superuser")
            for name in PEOPLE[1:]
        }
        User.objects.filter(username="superuser").update(is_staff=True)
        self.people["operator"].groups.add(Group.objects.get(name=OPERATORS))
        owner = self.people["owner"]
        session = Session.objects.create(owner=owner, title="Secret title", model="chat")
        token, _ = tokens.token_create(owner=owner, name="Secret token", scopes=[Scope.CHAT])
        prompt = SavedPrompt(owner=owner, name="Secret prompt", text="Secret")
        prompt_keep(prompt)
        key = Authenticator.objects.create(user=owner, type="webauthn", data=PASSKEY)
        codes = {"seed": "0" * 40, "used_mask": 0}
        Authenticator.objects.create(user=owner, type="recovery_codes", data=codes)
        self.names = {
            "session": session.pk,
            "token": token.pk,
            "prompt": prompt.pk,
            "key": key.pk,
            "setup": setup_token_create(),
            "invitation": links.invitation_create(made_by=None)[1],
            "password": links.password_link_create(made_by=None, user=owner)[1],
        }

    def client(self, name: str) -> Client:
        client = Client()
        if name == "owner":  # whose second factor asks for more than a password
            client.force_login(self.people[name])
        elif name != "anonymous":
            sign_in(client, name)
        if name != "anonymous":
            prove(client)
        return client


PASSKEY = {"name": "Secret key", "credential": {}}


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    # No authenticator made this passkey, so there is nothing to ask it for.
    monkeypatch.setattr("allauth.mfa.webauthn.internal.auth.get_credentials", lambda user: [])
    return Scene()


def test_every_page(scene: Scene) -> None:
    clients = {name: scene.client(name) for name in PEOPLE}
    got = {
        asked: tuple(outcome(name, client, scene, asked) for name, client in clients.items())
        for asked in ANSWERS
    }
    assert got == ANSWERS


def outcome(name: str, client: Client, scene: Scene, asked: str) -> int | str:
    method, path = asked.format(**scene.names).split(" ")
    answer: Any = client.generic(method, path, "name=x", "application/x-www-form-urlencoded")
    if name != "owner":
        assert "Secret" not in getattr(answer, "content", b"").decode(), asked
    if answer["content-type"].startswith("text/html") and not path.endswith("/docs"):
        check_page(answer)
    if "location" in answer:
        return str(answer["location"].partition("?")[0])
    return int(answer.status_code)


def check_page(answer: HttpResponseBase) -> None:
    html = getattr(answer, "content", b"").decode()
    if html:
        assert policy_of(answer) == PAGE
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
        scripts = re.findall(r"<script([^>]*)>", html)
        assert all("nonce=" in each or "application/json" in each for each in scripts)


def test_no_address_is_missing() -> None:
    asked = {resolve(re.sub(r"\{(\w+)\}", _example, each.split(" ")[1])).route for each in ANSWERS}
    known = {each for each in routes(get_resolver().url_patterns) if not each.startswith("admin/")}
    assert {each for each in known - asked if not each.startswith(ELSEWHERE)} == set()
    assert "account/tokens/<uuid:token_id>/revoke/" in known


def _example(name: re.Match[str]) -> str:
    return "1" if name[1] == "key" else "00000000-0000-4000-8000-000000000000"


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for each in patterns:
        path = before + str(each.pattern).removeprefix("^")
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, path)
        else:
            yield path


def test_no_page_of_the_admin_is_open_to_a_member(scene: Scene) -> None:
    """Whatever is added there. Its own way out says that one is out."""
    paths = [
        "/" + re.sub(r"<[^>]+>|\(\?P.*\)\$?", "1", each)
        for each in routes(get_resolver().url_patterns)
        if each.startswith("admin/")
    ]
    assert len(paths) > 30
    nobody, member = scene.client("anonymous"), scene.client("other")
    for path in paths:
        if path == "/admin/logout/":
            continue
        for client in (nobody, member):
            answer: Any = client.get(path)
            assert answer.status_code in (301, 302, 403, 404), path
            if answer.status_code == 302:
                assert answer["location"].startswith(("/admin/login/", "/account/login/")), path
