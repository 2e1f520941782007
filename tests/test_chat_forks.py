"""Forks: a copy of a branch in a session of its own, whose next prompt is exact to the token."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from chat.database import in_database
from chat.forks import session_fork
from chat.identity import local_user
from chat.models import Event, Feedback, Generation, Message, Session
from chat.packing import unpack
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def said(text: str, session: str | None = None) -> tuple[str, str]:
    """(session, answer)."""
    body = json.dumps({"input": text, "session_id": session})
    told = (await AsyncClient().post("/api/chat", body, content_type="application/json")).json()
    return told["session_id"], told["message_id"]


async def forked(session: str, message: str) -> Any:
    path = f"/api/sessions/{session}/messages/{message}/fork"
    return await AsyncClient().post(path, content_type="application/json")


async def texts(session: str) -> list[str]:
    told = (await AsyncClient().get(f"/api/sessions/{session}")).json()
    return [message["content"] for message in told["messages"]]


async def generation(session: str) -> Generation:
    """The session's newest."""
    rows = Generation.objects.filter(session_id=session).order_by("created_at")
    found = await in_database(rows.last)
    assert found is not None
    return found


async def test_the_next_prompt_is_the_same_in_both(site: FakeEngine) -> None:
    session, first = await said("One")
    await said("Two", session)
    answer = await forked(session, first)
    assert answer.status_code == 201
    fork = answer.json()["id"]
    assert answer.json()["title"] == "Fork of One"
    assert await texts(fork) == ["One", "You said: One"]
    await said("Two", fork)
    its, origin = await generation(fork), await generation(session)
    assert unpack(its.prompt_ids) == unpack(origin.prompt_ids)
    assert its.fingerprint == origin.fingerprint
    assert await texts(session) == await texts(fork)


async def test_it_says_where_it_comes_from_until_that_is_gone(site: FakeEngine) -> None:
    session, message = await said("One")
    fork = (await forked(session, message)).json()["id"]
    link = f'href="/sessions/{session}/?message={message}"'
    page = await AsyncClient().get(f"/sessions/{fork}/")
    assert link in page.content.decode()
    assert (await AsyncClient().delete(f"/api/sessions/{session}")).status_code == 204
    page = await AsyncClient().get(f"/sessions/{fork}/")
    assert "origin" not in page.content.decode()
    assert await texts(fork) == ["One", "You said: One"]


async def test_it_is_a_session_like_any_other(site: FakeEngine) -> None:
    """In the list and told to open pages, found by the search, without the ratings of the other."""
    session, message = await said("Lighthouse")
    await in_database(
        lambda: Feedback.objects.create(message_id=message, owner=local_user(), value=1)
    )
    async with Page() as page:
        fork = (await forked(session, message)).json()["id"]
        assert (await page.until("sessions.changed"))["session"]["id"] == fork
    hits = (await AsyncClient().get("/api/search", {"q": "Lighthouse"})).json()
    assert {hit["session_id"] for hit in hits} == {session, fork}
    assert await in_database(Feedback.objects.count) == 1
    assert await in_database(lambda: Event.objects.filter(session_id=fork).count()) == 0


async def test_from_a_question_it_can_be_answered(site: FakeEngine) -> None:
    session, answer = await said("One")
    question = str(await in_database(lambda: Message.objects.get(children__id=answer).id))
    fork = (await forked(session, question)).json()["id"]
    assert await texts(fork) == ["One"]
    copy = str(await in_database(lambda: Message.objects.get(session_id=fork).id))
    async with Page() as page:
        await page.send("turn.regenerate", session_id=fork, message_id=copy, model="chat")
        await page.until("message.end")
    assert await texts(fork) == ["One", "You said: One"]


async def test_tokens_that_only_the_log_has_come_along(site: FakeEngine) -> None:
    """As of an answer that a crash ended: its row has none."""
    session, message = await said("One")
    whole = await generation(session)
    empty = {"output_ids": b"", "status": "FAILED"}
    await in_database(lambda: Generation.objects.filter(id=whole.id).update(**empty))
    fork = (await forked(session, message)).json()["id"]
    logged = unpack(whole.output_ids)[:-1]  # the end of the answer is no text
    assert unpack((await generation(fork)).output_ids) == logged


async def test_an_answer_that_is_being_written_is_refused(site: FakeEngine) -> None:
    site.script = lambda request: ["Half", asyncio.Event()]
    async with Page() as page:
        await page.submit("Go on")
        delta = await page.until("message.delta")
        answer = await forked(delta["session_id"], delta["message_id"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "turn_in_progress")
        assert await in_database(Session.objects.count) == 1
        await page.send("turn.stop", session_id=delta["session_id"])
        await page.until("message.end")


async def test_it_costs_the_same_however_long(site: FakeEngine) -> None:
    session, first = await said("One")
    for number in range(4):
        _, last = await said(f"No. {number}", session)

    def counted(message: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            its = {"session_id": uuid.UUID(session), "message_id": uuid.UUID(message)}
            session_fork(owner_id=local_user().id, **its)
        return len(captured)

    assert await in_database(counted, first) == await in_database(counted, last)
