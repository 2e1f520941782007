"""Share links: a snapshot for whoever has the link, until it ends or is taken back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import AsyncClient
from django.utils import timezone

from chat.database import in_database
from chat.models import ShareLink
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def said(text: str, session: str | None = None) -> str:
    body = json.dumps({"input": text, "session_id": session})
    told = await AsyncClient().post("/api/chat", body, content_type="application/json")
    return str(told.json()["session_id"])


async def shared(session: str, **body: Any) -> Any:
    path, text = f"/api/sessions/{session}/shares", json.dumps(body)
    return await AsyncClient().post(path, text, content_type="application/json")


async def test_it_shows_what_was_there_and_nothing_later(site: FakeEngine) -> None:
    session = await said("**One** <script>alert(1)</script>")
    link = (await shared(session)).json()
    await said("Much later", session)
    await AsyncClient().patch(
        f"/api/sessions/{session}", '{"title": "Renamed"}', content_type="application/json"
    )
    page = await AsyncClient().get(link["path"])
    html = page.content.decode()
    assert page.status_code == 200
    assert "<strong>One</strong>" in html, "the answer is rendered"
    assert "**One** &lt;script&gt;" in html, "the question is shown as it was written"
    assert "<script>alert" not in html
    assert "Much later" not in html
    assert "Renamed" not in html


async def test_nobody_finds_it_who_does_not_have_it(site: FakeEngine) -> None:
    session = await said("Hello")
    link = (await shared(session)).json()
    page = await AsyncClient().get(link["path"])
    assert page["X-Robots-Tag"] == "noindex, nofollow"
    assert page["Referrer-Policy"] == "no-referrer"
    assert page["Cache-Control"] == "no-store"
    html = page.content.decode()
    assert '<meta name="robots" content="noindex, nofollow">' in html
    assert django_settings.SESSION_COOKIE_NAME not in page.cookies
    token = link["path"].split("/")[2]
    assert len(token) >= 43, "256 bits"
    row = await in_database(ShareLink.objects.get)
    assert token not in str(vars(row)), "only its hash is kept"
    assert session not in html
    assert "local" not in html.replace("localhost", ""), "no owner's name"
    listed = (await AsyncClient().get("/api/shares")).json()
    assert [each["id"] for each in listed] == [link["id"]]
    assert "path" not in listed[0]


async def test_a_name_is_shown_where_one_is_given(site: FakeEngine) -> None:
    link = (await shared(await said("Hello"), author=" Ada  <Lovelace> ")).json()
    html = (await AsyncClient().get(link["path"])).content.decode()
    assert "Shared by Ada &lt;Lovelace&gt; on" in html


async def test_revoked_ended_and_deleted_look_like_never_been(site: FakeEngine) -> None:
    client = AsyncClient()
    session, other = await said("Hello"), await said("Other")
    revoked, ended, hidden = [(await shared(session, days=1)).json() for _ in range(3)]
    kept = (await shared(other, days=None)).json()
    assert kept["expires_at"] is None
    assert (await client.delete(f"/api/shares/{revoked['id']}")).status_code == 204
    assert (await client.delete(f"/api/shares/{revoked['id']}")).status_code == 404
    past = timezone.now() - timedelta(seconds=1)
    await in_database(lambda: ShareLink.objects.filter(id=ended["id"]).update(expires_at=past))
    assert (await client.get(hidden["path"])).status_code == 200
    body = '{"deleted": true}'
    await client.patch(f"/api/sessions/{session}", body, content_type="application/json")
    pages = [await client.get(each["path"]) for each in (revoked, ended, hidden)]
    pages.append(await client.get("/shared/never/"))
    assert {page.status_code for page in pages} == {404}
    assert all(page["X-Robots-Tag"] for page in pages)
    assert [each["id"] for each in (await client.get("/api/shares")).json()] == [kept["id"]]
    # what has ended is deleted when the next one is made
    await shared(other)
    assert not await in_database(lambda: ShareLink.objects.filter(id=ended["id"]).exists())
    await client.delete(f"/api/sessions/{other}")
    assert (await client.get(kept["path"])).status_code == 404


async def test_it_needs_no_account(site: FakeEngine, settings: Any) -> None:
    link = (await shared(await said("Hello"))).json()
    settings.TINYLLM_LOCAL, settings.SECURE_SSL_REDIRECT = False, False
    assert (await AsyncClient().get(link["path"])).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [({"days": 0}, "days"), ({"days": 366}, "days"), ({"author": "x" * 101}, "author")],
)
async def test_what_cannot_be_is_named(site: FakeEngine, body: dict[str, Any], param: str) -> None:
    answer = await shared(await said("Hello"), **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await in_database(ShareLink.objects.count) == 0
