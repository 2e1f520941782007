"""Reads: what a page gets, and that its queries do not grow with what it shows."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.errors import SessionNotFound
from chat.models import Generation, Message, Session
from chat.prompt_selectors import prompt_context
from chat.selectors import conversation, session_list
from chat.services import title_of, turn_start
from chat.turn_records import TurnPlan

pytestmark = pytest.mark.django_db

PLAN = TurnPlan("chat", [1, 2], {}, {}, "process", "request")


def begin(owner_id: uuid.UUID, text: str, **place: Any) -> Any:
    where = {"session_id": None, "parent_id": None, "client_id": None, **place}
    return turn_start(owner_id=owner_id, text=text, plan=PLAN, **where)


def finish(turn: Any, text: str) -> None:
    Generation.objects.filter(id=turn.generation_id).update(status="DONE")
    Message.objects.filter(id=turn.message_id).update(content=text)


def talk(owner_id: uuid.UUID, turns: int) -> uuid.UUID:
    session_id: uuid.UUID | None = None
    parent: uuid.UUID | None = None
    for number in range(turns):
        turn = begin(owner_id, f"Q{number}", session_id=session_id, parent_id=parent)
        finish(turn, f"A{number}")
        session_id, parent = turn.session_id, turn.message_id
    assert session_id is not None
    return session_id


def test_a_conversation_costs_the_same_however_long(make_user: Any) -> None:
    owner = make_user("ada")
    counts = []
    for turns in (1, 12):
        session_id = talk(owner.id, turns)
        with CaptureQueriesContext(connection) as captured:
            found = conversation(owner_id=owner.id, session_id=session_id)
        assert len(found.messages) == 2 * turns
        counts.append(len(captured))
    assert counts == [4, 4]


def test_the_session_list_is_one_query_and_newest_first(make_user: Any) -> None:
    owner, other = make_user("ada"), make_user("eve")
    first, second = talk(owner.id, 1), talk(owner.id, 1)
    talk(other.id, 1)
    begin(owner.id, "Live", session_id=first)
    with CaptureQueriesContext(connection) as captured:
        rows = [(row.id, row.live) for row in session_list(owner_id=owner.id)]  # type: ignore[attr-defined]
    assert rows == [(first, True), (second, False)]
    assert len(captured) == 1


def test_a_page_leaves_out_the_live_answer_and_follows_from_before_it(make_user: Any) -> None:
    owner = make_user("ada")
    session_id = talk(owner.id, 2)
    parent = Message.objects.get(content="A1")
    turn = begin(owner.id, "Q2", session_id=session_id, parent_id=parent.id)
    Message.objects.filter(id=turn.message_id).update(content="Half")
    found = conversation(owner_id=owner.id, session_id=session_id)
    assert [view.content for view in found.messages] == ["Q0", "A0", "Q1", "A1", "Q2"]
    assert (found.live_message_id, found.after) == (turn.message_id, turn.seq - 1)
    assert found.live_message is not None
    assert found.live_message.content == "Half"


def test_an_edited_branch_is_shown_instead_of_the_old_one(make_user: Any) -> None:
    owner = make_user("ada")
    session_id = talk(owner.id, 2)
    answer = Message.objects.get(content="A0")
    finish(begin(owner.id, "Edited", session_id=session_id, parent_id=answer.id), "New")
    found = conversation(owner_id=owner.id, session_id=session_id)
    assert [view.content for view in found.messages] == ["Q0", "A0", "Edited", "New"]


def test_a_prompt_is_built_on_the_branch_it_answers(make_user: Any) -> None:
    owner = make_user("ada")
    session_id = talk(owner.id, 3)
    parent = Message.objects.get(content="A0")
    context = prompt_context(
        owner_id=owner.id, session_id=session_id, parent_id=parent.id, newest=False
    )
    assert [message["content"] for message in context.messages] == ["Q0", "A0"]
    assert context.previous is not None
    assert context.previous.prompt_ids == [1, 2]
    newest = prompt_context(owner_id=owner.id, session_id=session_id, parent_id=None, newest=True)
    assert newest.messages[-1]["content"] == "A2"


def test_another_owner_s_session_is_not_found(make_user: Any) -> None:
    session_id = talk(make_user("ada").id, 1)
    with pytest.raises(SessionNotFound):
        conversation(owner_id=make_user("eve").id, session_id=session_id)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  Second line  \nthird", "Second line"),
        ("x" * 61, "x" * 59 + "…"),
        ("  \n ", ""),
    ],
)
def test_a_title_is_the_first_line_that_says_something(text: str, title: str) -> None:
    assert title_of(text) == title


def test_a_title_stays_when_the_session_goes_on(make_user: Any) -> None:
    session_id = talk(make_user("ada").id, 3)
    assert Session.objects.get(id=session_id).title == "Q0"
