"""API tokens: what is kept of them, what they open, and what is said where they do not."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session as DjangoSession
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from chat.accounts import tokens
from chat.accounts.errors import TokenExpired, TokenRevoked, TokenScopeMissing, TokenUnknown
from chat.accounts.tokens import Scope
from chat.database import in_database
from chat.models import ApiToken, Session, User
from tests.account_people import PASSWORD
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

HI = json.dumps({"input": "Hi"})
JSON = "application/json"


def test_of_a_token_only_its_hash_and_its_beginning_are_kept(ada: User) -> None:
    row, text = tokens.token_create(owner=ada, name="script", scopes=[Scope.CHAT])
    assert text.startswith("tl-")
    assert len(text) == len("tl-") + 43, "256 bits in base64"
    assert row.digest == hashlib.sha256(text.encode()).hexdigest()
    assert text.startswith(row.prefix)
    assert len(row.prefix) == 9
    with connection.cursor() as cursor:
        cursor.execute("select * from chat_apitoken")
        assert text not in str(cursor.fetchall())
    other, _ = tokens.token_create(owner=ada, name="script", scopes=[Scope.CHAT])
    assert other.digest != row.digest


def test_each_reason_to_refuse_is_an_error_of_its_own(ada: User) -> None:
    row, text = tokens.token_create(owner=ada, name="t", scopes=[Scope.READ])
    assert tokens.token_use(text=text, scope=Scope.READ).owner == ada
    with pytest.raises(TokenUnknown):
        tokens.token_use(text=text[:-1], scope=Scope.READ)
    with pytest.raises(TokenScopeMissing, match=r"needs the scope chat\. .* has: read"):
        tokens.token_use(text=text, scope=Scope.CHAT)
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(TokenExpired, match="expired on"):
        tokens.token_use(text=text, scope=Scope.READ)
    assert not tokens.token_revoke(owner=User.objects.create_user("bob"), token_id=row.pk)
    assert tokens.token_revoke(owner=ada, token_id=row.pk)
    with pytest.raises(TokenRevoked, match="was revoked"):
        tokens.token_use(text=text, scope=Scope.READ)
    ApiToken.objects.filter(pk=row.pk).update(expires_at=None, revoked_at=None)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    with pytest.raises(TokenUnknown):
        tokens.token_use(text=text, scope=Scope.READ)


def test_the_last_use_is_noted_once_a_minute(ada: User) -> None:
    row, text = tokens.token_create(owner=ada, name="t", scopes=[Scope.READ])
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as asked:
            tokens.token_use(text=text, scope=Scope.READ)
        counts.append(len(asked))
    assert counts == [2, 1, 1]
    first = ApiToken.objects.get(pk=row.pk).last_used_at
    assert first is not None
    before = first - timedelta(seconds=61)
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=before)
    tokens.token_use(text=text, scope=Scope.READ)
    assert ApiToken.objects.get(pk=row.pk).last_used_at != before


class Scene:
    """Two accounts with a session each; `token` makes a header for one of them."""

    def __init__(self) -> None:
        self.people = {
            name: User.objects.create_user(name, is_staff=name == "boss")
            for name in ("ada", "bob", "boss")
        }
        self.sessions = {
            name: Session.objects.create(owner=user, title=f"{name}'s", model="chat").pk
            for name, user in self.people.items()
        }

    async def token(self, name: str, *scopes: Scope, **more: Any) -> dict[str, str]:
        owner = self.people[name]
        _, text = await in_database(
            lambda: tokens.token_create(owner=owner, name="t", scopes=scopes, **more)
        )
        return {"authorization": f"Bearer {text}"}


@pytest.fixture
async def scene(site: FakeEngine, settings: Any) -> Scene:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False
    return await in_database(Scene)


def client() -> AsyncClient:
    return AsyncClient(enforce_csrf_checks=True)


async def test_a_token_acts_for_its_owner_without_cookies_and_csrf(scene: Scene) -> None:
    both = await scene.token("ada", Scope.CHAT, Scope.READ)
    answer = await client().post("/api/chat", HI, content_type=JSON, headers=both)
    assert answer.status_code == 200
    listed = await client().get("/api/sessions", headers=both)
    assert {row["title"] for row in listed.json()} == {"ada's", "Hi"}
    mine, theirs = (f"/api/sessions/{scene.sessions[name]}" for name in ("ada", "bob"))
    assert (await client().get(theirs, headers=both)).status_code == 404
    assert (await client().delete(theirs, headers=both)).status_code == 404
    assert (await client().delete(mine, headers=both)).status_code == 204
    foreign = {**both, "origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    assert (await client().get("/api/sessions", headers=foreign)).status_code == 200


async def test_where_a_token_is_shown_cookies_count_for_nothing(scene: Scene) -> None:
    browser = client()
    await browser.aforce_login(scene.people["boss"])
    assert (await browser.get("/api/engine")).status_code == 200
    headers = await scene.token("ada", Scope.READ)
    listed = await browser.get("/api/sessions", headers=headers)
    assert [row["title"] for row in listed.json()] == ["ada's"]
    assert (await browser.get("/api/engine", headers=headers)).status_code == 403
    wrong = await browser.get("/api/sessions", headers={"authorization": "Bearer tl-wrong"})
    assert wrong.status_code == 401
    other = await browser.get("/api/sessions", headers={"authorization": "Basic eDp5"})
    assert other.status_code == 200, "another scheme is not a token of ours"


async def test_scopes_are_kept(scene: Scene) -> None:
    only = {scope: await scene.token("ada", scope) for scope in Scope}
    boss = await scene.token("boss", Scope.ADMIN)
    asked = {
        "read": await client().get("/api/sessions", headers=only[Scope.CHAT]),
        "chat": await client().post("/api/chat", HI, content_type=JSON, headers=only[Scope.READ]),
        "admin": await client().get("/api/engine", headers=only[Scope.READ]),
    }
    for scope, answer in asked.items():
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (403, "permission_error")
        assert error["code"] == "token_scope_missing"
        assert f"needs the scope {scope}" in error["message"]
    assert (await client().get("/api/engine", headers=boss)).status_code == 200
    not_staff = await client().get("/api/engine", headers=only[Scope.ADMIN])
    assert (not_staff.status_code, not_staff.json()["error"]["code"]) == (403, "permission_denied")


async def test_refusals_have_the_shape_of_the_house(scene: Scene) -> None:
    old = await scene.token("ada", Scope.READ, expires_at=timezone.now() - timedelta(days=1))
    ended = await scene.token("ada", Scope.READ)
    row = await ApiToken.objects.filter(expires_at=None).alatest("created_at")
    await in_database(lambda: tokens.token_revoke(owner=scene.people["ada"], token_id=row.pk))
    for headers, code in (
        ({"authorization": "Bearer tl-nobody"}, "token_unknown"),
        ({"authorization": "Bearer "}, "token_unknown"),
        ({"authorization": "bearer"}, "token_unknown"),
        (old, "token_expired"),
        (ended, "token_revoked"),
        ({}, "not_signed_in"),
    ):
        answer = await client().get("/api/sessions", headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (401, code)
        assert error["type"] == "authentication_error"
        assert answer["WWW-Authenticate"] == "Bearer"
    chinese = await client().get("/api/sessions", headers={**old, "accept-language": "zh-CN"})
    with translation.override("zh-hans"):
        assert "过期" in chinese.json()["error"]["message"]


@pytest.mark.parametrize("how", ["token", "cookie"])
async def test_a_stream_of_events_ends_with_the_right_to_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("chat.signals.POLL_S", 0.05)
    ada, reader = scene.people["ada"], client()
    if how == "token":
        headers = await scene.token("ada", Scope.READ)
    else:
        headers = {}
        await reader.aforce_login(ada)
    path = f"/api/sessions/{scene.sessions['ada']}/events"
    answer: Any = await reader.get(path, headers=headers)
    told: list[str] = []
    async for part in answer.streaming_content:
        told.append(part.decode())
        if part == b": ping\n\n" and told.count(": ping\n\n") == 1:
            await ApiToken.objects.aupdate(revoked_at=timezone.now())
            await DjangoSession.objects.all().adelete()
    assert told.count(": ping\n\n") == 1
    assert ("token_revoked" if how == "token" else "not_signed_in") in told[-1]


async def test_local_mode_takes_any_token_and_needs_none(site: FakeEngine) -> None:
    for headers in ({}, {"authorization": "Bearer not-needed"}):
        answer = await AsyncClient(headers={"host": "localhost"}).post(
            "/api/chat", HI, content_type=JSON, headers=headers
        )
        assert answer.status_code == 200


def test_tokens_are_made_shown_once_listed_and_revoked(
    site_client: Client, ada: User, make_user: Any
) -> None:
    made = site_client.post(
        "/account/tokens/new/", {"name": "My script", "scopes": ["chat", "admin"], "days": 30}
    )
    assert "Select a valid choice" in made.content.decode(), "admin is for staff"
    made = site_client.post(
        "/account/tokens/new/", {"name": "My <script>", "scopes": ["chat"], "days": 30}
    )
    row = ApiToken.objects.get()
    page = made.content.decode()
    text = page.partition('id="token"')[2].partition(">")[2].partition("<")[0]
    assert tokens.token_use(text=text, scope=Scope.CHAT) == row
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)

    listed = site_client.get("/account/tokens/").content.decode()
    assert "My &lt;script&gt;" in listed
    assert row.prefix in listed
    assert text not in listed
    stranger = Client()
    stranger.force_login(make_user("bob"))
    revoke = f"/account/tokens/{row.pk}/revoke/"
    assert row.prefix not in stranger.get("/account/tokens/").content.decode()
    assert stranger.post(revoke).status_code == 404
    assert site_client.get(revoke).status_code == 405
    assert site_client.post(revoke).status_code == 302
    assert site_client.post(revoke).status_code == 404
    assert "revoked on" in site_client.get("/account/tokens/").content.decode()
    assert site_client.post(f"/account/tokens/{uuid.uuid4()}/revoke/").status_code == 404


def test_making_a_token_asks_for_the_password_again(ada: User) -> None:
    client = Client()
    client.force_login(ada)
    new = {"name": "t", "scopes": ["chat"], "days": 0}
    asked = client.post("/account/tokens/new/", new)
    assert asked["location"] == "/account/reauthenticate/?next=%2Faccount%2Ftokens%2Fnew%2F"
    assert not ApiToken.objects.exists()
    again = {"password": PASSWORD, "next": "/account/tokens/new/"}
    shown = client.post("/account/reauthenticate/", again)
    assert ApiToken.objects.get().prefix in shown.content.decode(), "what was typed is not lost"


@pytest.fixture
def site_client(ada: User) -> Client:
    """Signed in without a password, so that none is asked for."""
    ada.set_unusable_password()
    ada.save()
    client = Client()
    client.force_login(ada)
    return client


def test_the_admin_lists_and_revokes_and_never_shows(
    site_client: Client, ada: User, make_user: Any
) -> None:
    row, text = tokens.token_create(owner=ada, name="t", scopes=[Scope.CHAT])
    admin = Client()
    admin.force_login(make_user("boss", is_staff=True, is_superuser=True))
    for path in ("", f"{row.pk}/change/"):
        page = admin.get(f"/admin/chat/apitoken/{path}").content.decode()
        assert row.prefix in page
        assert row.digest not in page
        assert text not in page
    assert admin.get("/admin/chat/apitoken/add/").status_code == 403
    admin.post("/admin/chat/apitoken/", {"action": "revoke", "_selected_action": [row.pk]})
    with pytest.raises(TokenRevoked):
        tokens.token_use(text=text, scope=Scope.CHAT)
