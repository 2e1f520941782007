"""Rename, pin, archive, delete with a way back: over REST, and what other pages are told."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.deletion import Collector
from django.test import AsyncClient
from django.utils import timezone

from chat.database import in_database
from chat.identity import local_user
from chat.models import Message, Session
from chat.session_edits import WAY_BACK, purge_deleted
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def said(text: str, session_id: str | None = None) -> str:
    body = {"input": text, "session_id": session_id}
    answer = await AsyncClient().post(
        "/api/chat", json.dumps(body), content_type="application/json"
    )
    return str(answer.json()["session_id"])


async def edited(session: str, **changes: Any) -> Any:
    address = f"/api/sessions/{session}"
    return await AsyncClient().patch(address, json.dumps(changes), content_type="application/json")


async def listed(**query: Any) -> list[str]:
    answer = await AsyncClient().get("/api/sessions", query or {"limit": 50})
    assert answer.status_code == 200
    return [row["title"] for row in answer.json()]


async def test_an_edit_is_told_to_every_page_of_the_owner(site: FakeEngine) -> None:
    session = await said("Hello")
    async with Page() as first, Page() as second:
        answer = await edited(session, title="  A walk\nby the sea ")
        assert answer.json()["title"] == "A walk by the sea"
        for page in (first, second):
            told = (await page.until("sessions.changed"))["session"]
            assert (told["id"], told["title"]) == (session, "A walk by the sea")
            assert told["position"] == answer.json()["position"]


async def test_an_automatic_title_never_replaces_a_person_s(site: FakeEngine) -> None:
    session = await said("First words")
    await edited(session, title="Mine")
    await said("Second words", session)
    assert await listed() == ["Mine"]
    # even where it had been left without any
    await in_database(lambda: Session.objects.update(title=""))
    await said("Third words", session)
    assert await listed() == [""]


async def test_a_person_s_title_stays_when_it_comes_in_the_middle_of_a_turn(
    site: FakeEngine,
) -> None:
    async with Page() as page:
        await page.submit("First words")
        session = (await page.until("turn.started"))["session_id"]
        await edited(session, title="Mine")
        await page.until("message.end")
    assert await listed() == ["Mine"]


async def test_pinned_ones_come_first_and_archived_ones_apart(site: FakeEngine) -> None:
    first, second, third = [await said(text) for text in ("One", "Two", "Three")]
    assert (await edited(first, pinned=True)).json()["pinned"]
    assert await listed() == ["One", "Three", "Two"]
    await edited(second, archived=True)
    assert await listed() == ["One", "Three"]
    assert await listed(limit=50, archived="true") == ["Two"]
    assert not (await edited(first, archived=True)).json()["pinned"]
    assert await listed() == ["Three"]
    assert not (await edited(first, pinned=True)).json()["archived"]
    assert await listed() == ["One", "Three"]
    await said("Two again", second)
    assert await listed() == ["One", "Two", "Three"]
    assert third


async def test_a_deleted_session_is_hidden_everywhere_and_comes_back_whole(
    site: FakeEngine,
) -> None:
    session = await said("Hello")
    client = AsyncClient()
    message = (await client.get(f"/api/sessions/{session}")).json()["messages"][0]["id"]
    assert (await edited(session, deleted=True)).json()["deleted"]
    assert await listed() == []
    assert (await client.get("/api/sessions")).json() == []
    assert (await client.get(f"/api/sessions/{session}")).status_code == 404
    assert (await client.get(f"/sessions/{session}/")).status_code == 404
    assert (await edited(session, title="Ghost")).status_code == 404
    async with Page() as page:
        await page.submit("Are you there?", session_id=session)
        assert (await page.receive())["code"] == "session_not_found"
        await page.send("session.open", session_id=session, after=0)
        assert (await page.receive())["code"] == "session_not_found"
        await page.send("branch.show", session_id=session, message_id=message)
        assert (await page.receive())["code"] == "session_not_found"
    await purge_deleted()
    assert not (await edited(session, deleted=False)).json()["deleted"]
    found = (await client.get(f"/api/sessions/{session}")).json()
    assert [message["content"] for message in found["messages"]] == ["Hello", "You said: Hello"]


async def test_the_rows_go_when_the_way_back_has_ended(site: FakeEngine) -> None:
    kept, session = await said("Kept"), await said("Hello")
    await edited(session, deleted=True)
    long_ago = timezone.now() - WAY_BACK - timedelta(seconds=1)
    await in_database(lambda: Session.objects.filter(id=session).update(deleted_at=long_ago))
    await purge_deleted()
    assert (await edited(session, deleted=False)).status_code == 404
    left = await in_database(lambda: set(Message.objects.values_list("session_id", flat=True)))
    assert {str(name) for name in left} == {kept}


async def test_deleting_ends_the_answer_that_is_being_written(site: FakeEngine) -> None:
    site.script = lambda request: ["Half", asyncio.Event()]
    async with Page() as page:
        await page.submit("Go on for ever")
        delta = await page.until("message.delta")
        assert (await edited(delta["session_id"], deleted=True)).status_code == 200
        assert (await page.until("message.end"))["status"] == "STOPPED"


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"title": " "}, "title"), ({"title": "x" * 201}, "title"), ({"title": "\ud800"}, "title")],
)
async def test_a_bad_title_is_named_and_changes_nothing(
    site: FakeEngine, changes: dict[str, Any], param: str
) -> None:
    session = await said("Hello")
    answer = await edited(session, **changes)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await listed() == ["Hello"]


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit")]
    + [({"limit": 5, "before": text}, "before") for text in ("x", "2026-01-01~1", "~")],
)
async def test_a_bad_page_is_named(site: FakeEngine, query: dict[str, Any], param: str) -> None:
    answer = await AsyncClient().get("/api/sessions", query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_nobody_writes_between_what_is_found_and_what_is_deleted(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    """Else an event that a turn adds in between would be left without its session."""
    found = Collector.collect
    locked: list[bool] = []

    def collect(self: Any, *args: Any, **kwargs: Any) -> Any:
        locked.append(connection.in_atomic_block)
        return found(self, *args, **kwargs)

    monkeypatch.setattr(Collector, "collect", collect)
    Session.objects.create(owner=local_user(), model="chat")
    Session.objects.all().delete()
    assert Session.objects.count() == 0
    assert all(locked)
    assert locked
