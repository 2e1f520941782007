"""Every answer says what its page may do: one policy for the site, a second one for the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.http import HttpResponseBase
from django.test import AsyncClient, Client
from django.urls import URLPattern, URLResolver, get_resolver

from chat import identity, selectors
from chat.guard import Guard
from chat.models import Message, Session, User
from chat.setup import setup_token_create
from chat.share_links import share_link_create
from tests.fake_engine import FakeEngine

# Not within a transaction of the test: the API asks the database from threads of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

NO_PAGE = {
    "default-src": "'none'",
    "script-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# Of a page of ours: the scripts that its template marked.
PAGE = {**NO_PAGE, "script-src": "'nonce-N'"}
# Django made a page, and a middleware gives an answer without scripts in its place.
REPLACED = PAGE
DOCS = {**PAGE, "img-src": "'self' data:"}
ADMIN = {
    **NO_PAGE,
    "script-src": "'self' 'unsafe-eval'",
    "style-src-attr": "'unsafe-inline'",
    "font-src": "'self'",
}
OTHERS = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), midi=(), payment=(), "
    "usb=(), microphone=(self)",
}
# method and path -> status, policy. {session}, {setup} and {user} are those of the fixture.
ANSWERS = {
    "GET /": (200, PAGE),
    "GET /sessions/{session}/": (200, PAGE),
    "GET /sessions/{session}/earlier/": (404, NO_PAGE),
    "GET /sessions/00000000-0000-0000-0000-000000000000/": (404, PAGE),
    "GET /sessions/{session}/opened/": (200, NO_PAGE),
    "GET /prompts/": (200, PAGE),
    "GET /prompts/{session}/": (404, PAGE),
    "POST /prompts/{session}/delete/": (404, PAGE),
    "POST /prompts/{session}/versions/1/restore/": (404, PAGE),
    "GET /my-data/": (200, PAGE),
    "GET /my-data/archive/": (200, NO_PAGE),
    "GET /setup/{setup}/": (200, PAGE),
    "GET /setup/used/": (404, PAGE),
    "GET /learn/": (200, PAGE),
    "GET /learn/source/inference/sampler.py": (200, PAGE),
    "GET /learn/source/tinyllm_site/settings.py": (404, PAGE),
    "GET /nothing/": (404, PAGE),
    "POST /": (405, NO_PAGE),
    "POST /i18n/setlang/": (302, NO_PAGE),
    "GET /account/login/": (404, PAGE),
    "GET /static/chat/main.js": (200, NO_PAGE),
    "GET /static/chat/favicon.svg": (200, NO_PAGE),
    "GET /static/nothing.js": (404, PAGE),
    "GET /api/docs": (200, DOCS),
    "GET /api/openapi.json": (200, {**NO_PAGE, "img-src": "'self' data:"}),
    "GET /api/v1/docs": (200, DOCS),
    "GET /api/v1/openapi.json": (200, {**NO_PAGE, "img-src": "'self' data:"}),
    "GET /api/sessions": (200, NO_PAGE),
    "GET /api/sessions/{session}": (200, NO_PAGE),
    "GET /api/sessions/{session}/events": (200, NO_PAGE),
    "GET /api/sessions/{session}/export": (200, NO_PAGE),
    "GET /api/search": (400, NO_PAGE),
    "POST /api/files": (415, NO_PAGE),
    "GET /api/files/00000000-0000-0000-0000-000000000000": (404, NO_PAGE),
    "GET /api/messages/{session}/tokens": (404, NO_PAGE),
    "GET /api/messages/{session}/tokens/0": (404, NO_PAGE),
    "POST /api/learn/trace": (415, NO_PAGE),
    "GET /api/usage": (200, NO_PAGE),
    "PUT /api/sessions/{session}/branch": (400, NO_PAGE),
    "GET /api/sessions/{session}/settings": (200, NO_PAGE),
    "POST /api/settings/check": (415, NO_PAGE),
    "GET /api/presets": (200, NO_PAGE),
    "GET /api/prompts": (200, NO_PAGE),
    "DELETE /api/presets/00000000-0000-0000-0000-000000000000": (404, NO_PAGE),
    "GET /api/presets/{session}/versions": (404, NO_PAGE),
    "POST /api/presets/{session}/versions/1/restore": (415, NO_PAGE),
    "PUT /api/sessions/{session}/messages/{session}/rating": (400, NO_PAGE),
    "POST /api/sessions/{session}/messages/{session}/fork": (415, NO_PAGE),
    "POST /api/sessions/{session}/shares": (415, NO_PAGE),
    "GET /api/shares": (200, NO_PAGE),
    "DELETE /api/shares/{session}": (404, NO_PAGE),
    "GET /shared/{shared}/": (200, PAGE),
    "GET /shared/nothing/": (404, PAGE),
    "POST /api/import": (415, NO_PAGE),
    "GET /api/folders": (200, NO_PAGE),
    "DELETE /api/folders/{session}": (404, NO_PAGE),
    "GET /api/": (404, REPLACED),
    "GET /api/nothing": (404, REPLACED),
    "GET /api/engine": (200, NO_PAGE),
    "PUT /api/sessions": (405, NO_PAGE),
    "POST /api/chat": (415, NO_PAGE),
    "GET /v1/models": (200, NO_PAGE),
    "GET /v1/models/chat": (200, NO_PAGE),
    "GET /v1/nothing": (404, NO_PAGE),
    "GET /v1/": (404, NO_PAGE),
    "POST /v1/chat/completions": (415, NO_PAGE),
    "POST /v1/completions": (415, NO_PAGE),
    "POST /v1/responses": (415, NO_PAGE),
    "POST /v1/embeddings": (415, NO_PAGE),
    "GET /v1/responses/nothing": (404, NO_PAGE),
    "POST /v1/responses/nothing/cancel": (415, NO_PAGE),
    "GET /v1/responses/nothing/input_items": (404, NO_PAGE),
    "POST /v1/messages": (415, NO_PAGE),
    "POST /v1/messages/count_tokens": (415, NO_PAGE),
    "GET /healthz": (200, NO_PAGE),
    "GET /readyz": (200, NO_PAGE),
    "GET /health": (200, NO_PAGE),
    "GET /version": (200, NO_PAGE),
    "GET /metrics": (200, NO_PAGE),
    "POST /tokenize": (415, NO_PAGE),
    "POST /detokenize": (415, NO_PAGE),
    "POST /apply-template": (415, NO_PAGE),
    "GET /admin": (301, REPLACED),
    "GET /admin/": (200, ADMIN),
    "GET /admin/chat/session/": (200, ADMIN),
    "GET /admin/chat/session/{session}/change/": (200, ADMIN),
    "GET /admin/chat/session/{session}/delete/": (200, ADMIN),
    "GET /admin/chat/user/{user}/password/": (200, ADMIN),
    "GET /admin/chat/user/add/": (200, ADMIN),
    "GET /admin/chat/usage/": (200, ADMIN),
    "GET /admin/chat/quota/": (200, ADMIN),
    "GET /admin/chat/auditentry/": (200, ADMIN),
    "GET /admin/jsi18n/": (200, ADMIN),
    "GET /admin/nothing/": (404, ADMIN),
    "GET /admin/engine/": (200, ADMIN),
    "GET /admin/engine/status/": (200, ADMIN),
    "GET /admin/engine/cancel/{session}/": (405, ADMIN),
    "GET /admin/conversations/{session}/": (200, ADMIN),
    "GET /admin/traces/": (200, ADMIN),
    "GET /admin/traces/nothing/": (404, ADMIN),
    "GET /admin/traces/nothing/chrome.json": (404, ADMIN),
    "GET /admin/generation-trace/{session}/": (404, ADMIN),
    "GET /admin/generation-trace/{session}/chrome.json": (404, ADMIN),
    "GET /admin/settings/": (200, ADMIN),
    "GET /admin/settings/change/": (405, ADMIN),
    "GET /admin/models/": (200, ADMIN),
    "GET /admin/models/status/": (200, ADMIN),
    **{
        f"GET /admin/models/{verb}/": (405, ADMIN)
        for verb in ("pull", "load", "unload", "remove", "convert", "cancel")
    },
    "GET /admin/login/": (302, ADMIN),
    "POST /admin/logout/": (200, ADMIN),
}


@pytest.fixture
def boss(make_user: Any) -> User:
    user: User = make_user("boss", is_staff=True, is_superuser=True)
    return user


@pytest.fixture
def site(fake_engine: FakeEngine, boss: User) -> Client:
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(boss)
    return client


def shared_token(session: Session) -> str:
    Message.objects.create(session=session, role="user", content="Hello")
    its = {"owner_id": session.owner_id, "session_id": session.id}
    return share_link_create(**its, kind="chat", days=1, author="")[1]


def policy_of(answer: HttpResponseBase) -> dict[str, str]:
    """Directive -> sources; a nonce, which no two answers share, as N."""
    header = re.sub(r"'nonce-[\w+/]{22}=='", "'nonce-N'", answer["Content-Security-Policy"])
    return dict(part.split(" ", 1) for part in header.split("; "))


def check(
    answer: HttpResponseBase, status: int, policy: dict[str, str], *, private: bool = False
) -> None:
    assert answer.status_code == status
    assert policy_of(answer) == policy
    others = OTHERS | ({"Referrer-Policy": "no-referrer"} if private else {})
    assert {name: answer[name] for name in OTHERS} == others


@pytest.mark.parametrize("asked", ANSWERS)
def test_every_answer_has_its_policy(site: Client, boss: User, asked: str) -> None:
    session = Session.objects.create(owner=identity.local_user(), model="chat", title="A title")
    names = {"session": session.id, "setup": setup_token_create(), "user": boss.pk}
    names["shared"] = shared_token(session)
    method, path = asked.format(**names).split(" ")
    answer = site.generic(method, path, "x" if method == "POST" else "", "text/plain")
    answer.close()
    check(answer, *ANSWERS[asked], private=path.startswith("/shared/"))


def test_a_stranger_at_the_admin_gets_its_policy_too(fake_engine: FakeEngine) -> None:
    client = Client(headers={"host": "localhost"})
    check(client.get("/admin/"), 302, ADMIN)
    check(client.get("/admin/login/"), 200, ADMIN)


def test_error_pages_have_it(site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Client(headers={"host": "localhost"}, enforce_csrf_checks=True)
    forged = strict.post(f"/setup/{setup_token_create()}/", {"username": "eve"})
    check(forged, 403, PAGE)
    assert "This request was refused" in forged.content.decode()

    check(site.get("/", headers={"host": "other.example"}), 400, NO_PAGE)

    def broken(**_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("chat.views.session_page", broken)
    monkeypatch.setattr(selectors, "session_list", broken)
    failed = site.get("/")
    check(failed, 500, PAGE)
    assert "Something broke on our side" in failed.content.decode()
    check(site.get("/api/sessions"), 500, NO_PAGE)


async def test_what_the_guard_refuses_may_do_nothing() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [], "client": ["10.0.0.1", 1], "server": ["10.0.0.2", 80]}
    await Guard(None)(scope, None, send)  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 403
    assert headers[b"content-security-policy"] == b"default-src 'none'; frame-ancestors 'none'"
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_every_script_of_a_page_has_the_nonce_of_this_answer_and_no_other(site: Client) -> None:
    nonces = set()
    for path in ("/", "/", "/nothing/", "/api/docs", f"/setup/{setup_token_create()}/"):
        answer = site.get(path)
        found = re.search(r"'nonce-([^']+)'", answer["Content-Security-Policy"])
        assert found
        scripts = re.findall(r"<script\b([^>]*)>", answer.content.decode())
        marked = [each for each in scripts if "application/json" not in each]
        assert marked
        assert all(f'nonce="{found[1]}"' in each for each in marked), path
        nonces.add(found[1])
    assert len(nonces) == 5


async def test_the_policy_is_the_same_where_the_server_is_asynchronous(
    fake_engine: FakeEngine,
) -> None:
    client = AsyncClient(headers={"host": "localhost"})
    check(await client.get("/nothing/"), 404, PAGE)
    check(await client.get("/admin/login/"), 200, ADMIN)
    check(await client.head("/static/chat/main.js"), 200, NO_PAGE)


def test_no_address_of_the_site_is_missing_above() -> None:
    asked = [key.split(" ")[1] for key in ANSWERS]
    for each in routes(get_resolver().url_patterns):
        pattern = re.sub(r"<[^>]+>", "[^/]+", each.replace("<path:path>", ".+"))
        assert any(re.fullmatch(pattern, path.lstrip("/")) for path in asked), each


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> list[str]:
    """All addresses but the admin's own, as Django writes them, those of accounts, which local mode
    does not have (tests/test_account_permissions.py), and tests/test_api_v1_permissions.py's."""
    found: list[str] = []
    for each in patterns:
        path = before + str(each.pattern)
        if isinstance(each, URLResolver):
            apart = ("admin/", "account/", "api/v1/")
            found += [] if path in apart else routes(each.url_patterns, path)
        else:
            found.append(path)
    return found
