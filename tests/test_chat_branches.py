"""Branches: another version beside a message, which one is shown, and who is told of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from chat.branches import branch_show
from chat.database import in_database
from chat.errors import MessageNotFound
from chat.identity import local_user
from chat.models import Generation, Message, Session
from chat.packing import unpack
from chat.replay import replay
from chat.selectors import conversation, session_position
from chat.services import CRASH_STEP
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine, Script
from tests.test_chat_selectors import begin, finish, talk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


def shown_by(session_id: uuid.UUID | str) -> list[str]:
    owner = Session.objects.get(id=session_id).owner_id
    found = conversation(owner_id=owner, session_id=uuid.UUID(str(session_id)))
    live = [found.live_message] if found.live_message else []
    return [view.content for view in [*found.messages, *live]]


def show(session_id: uuid.UUID, content: str) -> list[str]:
    message = Message.objects.get(session_id=session_id, content=content)
    owner = Session.objects.get(id=session_id).owner_id
    branch_show(owner_id=owner, session_id=session_id, message_id=message.id)
    return shown_by(session_id)


def branch_off(session_id: uuid.UUID, parent: str | None, name: str) -> None:
    """A question and an answer below the message that says `parent`."""
    owner = Session.objects.get(id=session_id).owner_id
    found = Message.objects.get(content=parent) if parent else None
    place = {"session_id": session_id, "parent_id": found.id if found else None}
    finish(begin(owner, f"Q{name}", **place), f"A{name}")


def test_a_choice_brings_back_what_was_last_read_below_it(make_user: Any) -> None:
    session_id = talk(make_user("ada").id, 2)
    branch_off(session_id, "A0", "1b")
    branch_off(session_id, None, "0b")
    assert shown_by(session_id) == ["Q0b", "A0b"]
    assert show(session_id, "Q0") == ["Q0", "A0", "Q1b", "A1b"]
    assert show(session_id, "Q1") == ["Q0", "A0", "Q1", "A1"]
    assert show(session_id, "Q0b") == ["Q0b", "A0b"]
    assert show(session_id, "Q0") == ["Q0", "A0", "Q1", "A1"], "the one read last, not the newest"
    branch_off(session_id, "A1", "2")
    assert shown_by(session_id) == ["Q0", "A0", "Q1", "A1", "Q2", "A2"]
    show(session_id, "Q0b")
    assert show(session_id, "Q0")[-1] == "A2"


def test_versions_are_listed_oldest_first_for_four_queries(make_user: Any) -> None:
    owner = make_user("ada")
    session_id = talk(owner.id, 2)
    for name in "abcdefgh":
        branch_off(session_id, "A0", name)
    show(session_id, "Qc")
    with CaptureQueriesContext(connection) as captured:
        found = conversation(owner_id=owner.id, session_id=session_id)
    assert len(captured) == 4
    asked = found.messages[2]
    texts = [Message.objects.get(id=each).content for each in asked.versions]
    assert texts == ["Q1", *(f"Q{name}" for name in "abcdefgh")]
    assert [len(view.versions) for view in found.messages] == [1, 1, 9, 1]


def test_a_choice_and_a_position_cost_the_same_however_long(
    make_user: Any, django_assert_num_queries: Any
) -> None:
    owner = make_user("ada")
    for turns in (1, 9):
        session_id = talk(owner.id, turns)
        first = Message.objects.get(session_id=session_id, content="Q0")
        with django_assert_num_queries(3):
            branch_show(owner_id=owner.id, session_id=session_id, message_id=first.id)
        with django_assert_num_queries(1):
            session_position(owner_id=owner.id, session_id=session_id)


def test_a_message_of_another_session_cannot_be_chosen(make_user: Any) -> None:
    owner = make_user("ada")
    one, other = talk(owner.id, 1), talk(owner.id, 1)
    foreign = Message.objects.get(session_id=other, content="Q0").id
    with pytest.raises(MessageNotFound, match=str(foreign)):
        branch_show(owner_id=owner.id, session_id=one, message_id=foreign)


async def answered(page: Page, text: str = "One", **place: Any) -> Frame:
    """The turn.started of a turn that is over."""
    await page.submit(text, **place)
    started = await page.until("turn.started")
    await page.until("message.end")
    return started


def ids_of(started: Frame) -> dict[str, str]:
    return {"session_id": started["session_id"], "message_id": started["message"]["id"]}


async def test_an_edit_is_a_version_and_everybody_reading_is_told_of_a_choice(
    site: FakeEngine,
) -> None:
    async with Page() as writer, Page() as reader:
        first = await answered(writer)
        session_id = first["session_id"]
        await reader.send("session.open", session_id=session_id, after=first["seq"])
        opened = await reader.until("session.opened")
        assert opened["shown"] == first["message"]["id"]
        await reader.until("message.end")
        edit = await answered(writer, "Uno", session_id=session_id)
        assert edit["user_message"]["parent_id"] is None
        await reader.until("message.end")
        assert await in_database(shown_by, session_id) == ["Uno", "You said: Uno"]

        asked = first["user_message"]["id"]
        await writer.send("branch.show", session_id=session_id, message_id=asked)
        for page in (writer, reader):
            told = await page.receive()
            assert told["type"] == "branch.shown"
            assert told["message_id"] == first["message"]["id"]
            assert told["seq"] == page.shown.seqs[-1]
    assert await in_database(shown_by, session_id) == ["One", "You said: One"]


async def test_a_reader_who_was_away_is_told_when_it_comes_back(site: FakeEngine) -> None:
    async with Page() as page:
        first = await answered(page)
        edit = await answered(page, "Uno", session_id=first["session_id"])
        seq = page.shown.seq
        await page.send("branch.show", **ids_of(first))
        await page.until("branch.shown")
    async with Page(page.shown) as again:
        await again.send("session.open", session_id=first["session_id"], after=seq)
        assert (await again.receive())["shown"] == first["message"]["id"]
        assert await again.socket.receive_nothing()
    # from before the edit: its turn.started would lead there, and is set right
    async with Page() as late:
        await late.send("session.open", session_id=first["session_id"], after=first["seq"])
        assert (await late.until("turn.started"))["message"]["id"] == edit["message"]["id"]
        assert (await late.until("branch.shown"))["message_id"] == first["message"]["id"]


async def test_a_version_being_written_goes_on_while_another_is_read(site: FakeEngine) -> None:
    gate = asyncio.Event()
    async with Page() as page, Page() as reader:
        first = await answered(page)
        session_id = first["session_id"]
        site.script = says("Half ", gate, "done")
        await page.submit("Uno", session_id=session_id)
        edit = await page.until("turn.started")
        await page.until("message.delta")
        await reader.send("session.open", session_id=session_id, after=edit["seq"])
        await reader.until("session.opened")
        await page.send("branch.show", **ids_of(first))
        for each in (page, reader):
            assert (await each.until("branch.shown"))["message_id"] == first["message"]["id"]
        owner = await in_database(local_user)
        found = await in_database(conversation, owner_id=owner.id, session_id=uuid.UUID(session_id))
        assert [view.content for view in found.messages] == ["One", "You said: One"]
        assert found.live_message is None
        assert (str(found.running), found.after) == (edit["message"]["id"], edit["seq"])
        gate.set()
        assert (await page.until("message.end"))["message_id"] == edit["message"]["id"]
        await reader.until("message.end")
    assert page.shown.texts[edit["message"]["id"]] == "Half done"
    assert await in_database(show, uuid.UUID(session_id), "Uno") == ["Uno", "Half done"]


def says(*steps: Any) -> Script:
    return lambda request: list(steps)


async def test_a_turn_elsewhere_is_refused_while_an_answer_is_written(site: FakeEngine) -> None:
    async with Page() as page:
        first = await answered(page)
        site.script = says("Half ", asyncio.Event())
        await page.submit("Uno", session_id=first["session_id"])
        await page.until("message.delta")
        await page.send("turn.regenerate", **ids_of(first), model="chat")
        told = await page.until_error()
        assert told["code"] == "turn_in_progress"
    assert await in_database(Message.objects.count) == 4


async def test_regenerate_writes_a_sibling_from_the_same_prompt(site: FakeEngine) -> None:
    async with Page() as page:
        first = await answered(page)
        second = await answered(
            page, "Two", session_id=first["session_id"], parent_id=first["message"]["id"]
        )
        await page.send("turn.regenerate", **ids_of(second), model="chat", sampling={"seed": 5})
        again = await page.until("turn.started")
        await page.until("message.end")
        assert again["user_message"] is None
        assert again["continued"] is False
        assert again["message"]["parent_id"] == second["message"]["parent_id"]
        assert again["message"]["id"] != second["message"]["id"]

        # the first one again: what was built on it stays with it
        await page.send("turn.regenerate", **ids_of(first), model="chat")
        await page.until("message.end")
    rows = await in_database(lambda: list(Generation.objects.order_by("created_at")))
    prompts = [unpack(row.prompt_ids) for row in rows]
    assert prompts[2] == prompts[1]
    assert prompts[3] == prompts[0]
    assert rows[2].seed == 5
    shown = await in_database(shown_by, first["session_id"])
    assert shown == ["One", "You said: One"]
    assert await in_database(show, uuid.UUID(first["session_id"]), "Two") == [
        *shown,
        "Two",
        "You said: Two",
    ]


async def test_another_model_answers_and_the_session_keeps_its_own(site: FakeEngine) -> None:
    async with Page() as page:
        first = await answered(page)
        await page.send("turn.regenerate", **ids_of(first), model="story")
        again = await page.until("turn.started")
        assert again["message"]["model"] == "story"
        await page.until("message.end")
        place = {"session_id": first["session_id"], "parent_id": again["message"]["id"]}
        await answered(page, "Two", **place)
    rows = await in_database(lambda: list(Generation.objects.order_by("created_at")))
    assert [row.model for row in rows] == ["chat", "story", "chat"]
    assert (await in_database(Session.objects.get)).model == "chat"
    # the other model's tokens mean nothing to this one: all is read anew, of the shown branch
    assert unpack(rows[2].prompt_ids)[:4] == unpack(rows[0].prompt_ids)[:4]


@pytest.mark.parametrize("model", ["nobody", ""])
async def test_regenerate_by_an_unknown_model_writes_nothing(site: FakeEngine, model: str) -> None:
    async with Page() as page:
        first = await answered(page)
        await page.send("turn.regenerate", **ids_of(first), model=model)
        assert (await page.until_error())["code"] == "model_not_found"
        await page.send(
            "turn.regenerate",
            session_id=first["session_id"],
            message_id=str(uuid.uuid4()),
            model="chat",
        )
        assert (await page.until_error())["code"] == "message_not_found"
    assert await in_database(Message.objects.count) == 2


async def test_the_branch_that_is_shown_is_what_rest_goes_on_with(site: FakeEngine) -> None:
    async with Page() as page:
        first = await answered(page)
        await answered(page, "Uno", session_id=first["session_id"])
    client = AsyncClient(headers={"host": "localhost"})
    path = f"/api/sessions/{first['session_id']}/branch"
    body = {"message_id": first["user_message"]["id"]}
    told = await client.put(path, json.dumps(body), content_type="application/json")
    assert [each["content"] for each in told.json()["messages"]] == ["One", "You said: One"]
    assert [len(each["versions"]) for each in told.json()["messages"]] == [2, 1]
    body = {"input": "More", "session_id": first["session_id"]}
    await client.post("/api/chat", json.dumps(body), content_type="application/json")
    shown = await in_database(shown_by, first["session_id"])
    assert shown == ["One", "You said: One", "More", "You said: More"]
    prompt = bytes(token for token in site.requests[-1].prompt_ids if token < 256)
    assert b"One" in prompt
    assert b"Uno" not in prompt


def test_a_crash_s_number_can_be_followed_from(make_user: Any) -> None:
    """The choice has no number of its own, so it can neither be lost nor repeated by one."""
    owner = make_user("ada")
    session_id = talk(owner.id, 1)
    Session.objects.filter(id=session_id).update(last_seq=CRASH_STEP)
    show(session_id, "Q0")
    frames, shown = replay(owner_id=owner.id, session_id=session_id, after=CRASH_STEP, until=None)
    assert (frames, shown) == ([], str(Message.objects.get(content="A0").id))
