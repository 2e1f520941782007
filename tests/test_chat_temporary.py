"""Temporary sessions: answered like any other, and not a word of them in the database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient

from chat.database import in_database
from chat.errors import SessionNotFound
from chat.models import Event, Generation, Message, SearchText, Session
from chat.temporary.sessions import (
    MOST_OF_ONE,
    TemporarySession,
    TemporarySessions,
    temporary_sessions,
)
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]
SECRET = "Rosebud-31415"


@pytest.fixture(autouse=True)
async def none_left(site: FakeEngine) -> AsyncIterator[None]:
    yield
    await temporary_sessions().close()
    temporary_sessions.cache_clear()


def everything() -> bytes:
    """All bytes of the database's files."""
    path = Path(str(connection.settings_dict["NAME"]))
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def files_of(folder: Path) -> bytes:
    """All that was written to a data folder."""
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


async def said(page: Page, text: str, **fields: Any) -> Frame:
    await page.submit(text, temporary=True, **fields)
    return await page.until("message.end")


async def test_nothing_of_it_is_anywhere(
    site: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Page() as page:
        end = await said(page, f"{SECRET} one")
        assert end["status"] == "DONE"
        await said(page, f"{SECRET} two", session_id=end["session_id"])
        assert any(f"{SECRET} two" in text for text in page.shown.texts.values())
        client = AsyncClient()
        assert (await client.get("/api/sessions")).json() == []
        assert (await client.get("/api/search", {"q": SECRET})).json() == []
        assert (await client.get(f"/api/sessions/{end['session_id']}")).status_code == 404

    def counts() -> list[int]:
        models: list[Any] = [Session, Message, Generation, Event, SearchText]
        return [model.objects.count() for model in models]

    assert await in_database(counts) == [0] * 5
    assert SECRET.encode() not in await in_database(everything)
    assert SECRET.encode() not in await in_database(files_of, tmp_path)
    assert SECRET not in caplog.text
    assert {request.session for request in site.requests} == {None}, "the engine would save it"


async def test_the_same_check_finds_a_session_that_is_kept(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit(SECRET)
        await page.until("message.end")
    assert SECRET.encode() in await in_database(everything)


async def test_the_next_prompt_goes_on_from_the_exact_tokens(site: FakeEngine) -> None:
    async with Page() as page:
        end = await said(page, "One")
        await said(page, "Two", session_id=end["session_id"])
    first, second = (list(request.prompt_ids) for request in site.requests)
    assert second[: len(first)] == first
    assert len(second) > len(first)


async def test_it_survives_a_lost_connection_in_the_middle_of_an_answer(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["Half ", gate, "and half"]
    page = await Page().__aenter__()
    await page.submit("Go", temporary=True)
    delta = await page.until("message.delta")
    shown = page.shown
    await page.socket.disconnect(1006)
    async with Page(shown) as again:
        where = {"session_id": delta["session_id"], "after": shown.seq}
        await again.send("session.open", **where)
        assert (await again.until("session.opened"))["live"]
        gate.set()
        await again.until("message.end")
        assert again.shown.texts[delta["message_id"]] == "Half and half"
        # and one that knows nothing yet gets all of it
        async with Page() as third:
            await third.send("session.open", session_id=delta["session_id"], after=0)
            await third.until("message.end")
            assert third.shown.texts[delta["message_id"]] == "Half and half"


async def test_it_is_gone_with_its_page(site: FakeEngine) -> None:
    page = await Page().__aenter__()
    end = await said(page, "Hello")
    assert len(temporary_sessions()) == 1
    await page.socket.disconnect(1001)
    assert len(temporary_sessions()) == 0
    async with Page() as later:
        await later.send("session.open", session_id=end["session_id"], after=0)
        assert (await later.until_error())["code"] == "session_not_found"


async def test_stop_keeps_what_is_there_and_a_second_turn_waits(site: FakeEngine) -> None:
    site.script = lambda request: ["Half", asyncio.Event()]
    async with Page() as page:
        await page.submit("Go", temporary=True)
        where = {"session_id": (await page.until("message.delta"))["session_id"]}
        await page.submit("More", **where)
        assert (await page.until_error())["code"] == "turn_in_progress"
        await page.send("turn.stop", **where)
        end = await page.until("message.end")
        assert (end["status"], end["can_continue"]) == ("STOPPED", False)


async def test_a_message_that_is_sent_again_is_taken_once(site: FakeEngine) -> None:
    async with Page() as page:
        end = await said(page, "Once", client_id="same")
        await page.submit("Once", client_id="same", temporary=True)
        await page.send("session.open", session_id=end["session_id"], after=end["seq"])
        assert (await page.until("session.opened"))["seq"] == end["seq"]
    assert len(site.requests) == 1


async def test_a_failure_is_told_and_nothing_is_kept_of_a_refusal(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi", temporary=True, model="absent")
        assert (await page.until_error())["code"] == "model_unavailable"
        assert len(temporary_sessions()) == 0
        site.script = lambda request: ["Half ", RuntimeError("on purpose")]
        end = await said(page, "Hi")
        assert (end["status"], end["error"]["code"]) == ("FAILED", "internal_error")


async def test_only_its_owner_and_only_so_long() -> None:
    known = TemporarySessions(away_s=0.0)
    session = TemporarySession(uuid.uuid4())
    known.add(session)
    with pytest.raises(SessionNotFound):
        known.get(owner_id=uuid.uuid4(), session_id=session.id)
    known.left(owner_id=uuid.uuid4(), session_ids=[session.id])
    assert known.get(owner_id=session.owner_id, session_id=session.id) is session
    with known.reader(session):
        with known.reader(session):
            pass
        changed = session.changed
        await asyncio.sleep(0)
        assert known.knows(session.id)
    await changed.wait()
    assert not known.knows(session.id)


async def test_there_are_only_so_many() -> None:
    known, owner = TemporarySessions(), uuid.uuid4()
    made = [TemporarySession(owner) for _ in range(MOST_OF_ONE + 1)]
    other = TemporarySession(uuid.uuid4())
    for session in (other, *made):
        known.add(session)
    assert not known.knows(made[0].id)
    assert known.knows(made[1].id)
    assert known.knows(other.id)
