"""Search: what it finds and in which order, by few characters too, and what it forgets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient

from chat import search as room
from chat.models import Message, SearchText, Session
from chat.search import search
from chat.search_index import index_turn
from chat.services import session_delete
from tests.fake_engine import FakeEngine

pytestmark = pytest.mark.django_db


class Owner:
    def __init__(self, user: Any) -> None:
        self.id = user.id
        self.session = Session.objects.create(owner=user, model="chat", title="Of bread")

    def says(self, text: str, answer: str = "Well.") -> Message:
        """A question and its answer, both indexed. Returns the question."""
        asked = Message.objects.create(session=self.session, role="user", content=text)
        said = Message.objects.create(
            session=self.session, role="assistant", parent=asked, content=answer
        )
        index_turn(message_id=said.id)
        return asked

    def finds(self, query: str) -> list[str]:
        hits = search(owner_id=self.id, query=query)
        return [hit.before + "[" + hit.match + "]" + hit.after for hit in hits]


@pytest.fixture
def ada(make_user: Any) -> Owner:
    return Owner(make_user("ada"))


def terms() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chat_search_terms")
        return int(cursor.fetchone()[0])


def test_titles_come_first_then_messages_newest_first(ada: Owner) -> None:
    ada.says("How is BREAD made?")
    ada.says("And rye bread?")
    assert ada.finds("bread") == ["Of [bread]", "And rye [bread]?", "How is [BREAD] made?"]
    first = search(owner_id=ada.id, query="bread")[0]
    assert (first.message_id, first.title) == (None, "Of bread")


@pytest.mark.parametrize("newest", [0, 1, 3000], ids=["index", "both", "newest"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("面", ["[面]", "怎么做[面]包？", "[面]条"]),
        ("面包", ["怎么做[面包]？"]),
        ("做面包", ["怎么[做面包]？"]),
        ("？", ["怎么做面包[？]"]),
        ("q", ["[Q]uick"]),
        ("CK", ["Qui[ck]"]),
        ("没有", []),
    ],
)
def test_one_and_two_characters_are_found_too(
    ada: Owner, monkeypatch: pytest.MonkeyPatch, newest: int, query: str, expected: list[str]
) -> None:
    monkeypatch.setattr(room, "NEWEST", max(1, newest))
    for text in ("面条", "Quick", "怎么做面包？", "面"):
        ada.says(text, answer="。")
    assert ada.finds(query) == expected


@pytest.mark.parametrize(
    "query", ['"', '""" OR x', "*", "a*", "100%", "a_b", "\\", "NEAR(a b)", "%"]
)
def test_signs_mean_themselves(ada: Owner, query: str) -> None:
    ada.says(f"before {query} after", answer="x")
    ada.says("another one", answer="y")
    assert ada.finds(query) == [f"before [{query}] after"]


def test_what_is_hidden_deleted_or_another_person_s_is_not_found(
    ada: Owner, make_user: Any
) -> None:
    ada.says("The secret word")
    eve = Owner(make_user("eve"))
    assert eve.finds("secret") == eve.finds("se") == []
    Session.objects.update(deleted_at="2026-01-01T00:00:00Z")
    assert ada.finds("secret") == ada.finds("se") == ada.finds("bread") == []


@pytest.mark.sqlite
def test_deleted_sessions_leave_nothing_in_the_index(ada: Owner, make_user: Any) -> None:
    eve = Owner(make_user("eve"))
    eve.says("Mine stays")
    kept = terms()
    asked = ada.says("The secret word")
    assert terms() > kept
    asked.delete()
    assert terms() == kept
    ada.says("Another secret word")
    session_delete(owner_id=ada.id, session_id=ada.session.id)
    assert terms() == kept
    assert SearchText.objects.count() == 2
    assert eve.finds("stays") == ["Mine [stays]"]


@pytest.mark.sqlite
def test_an_answer_that_goes_on_is_found_by_all_of_its_text_once(ada: Owner) -> None:
    asked = ada.says("Go", answer="The beginning")
    answer = Message.objects.get(parent=asked)
    before = terms()
    Message.objects.filter(id=answer.id).update(content="The beginning, and the end")
    index_turn(message_id=answer.id)
    assert ada.finds("beginning") == ["The [beginning], and the end"]
    Message.objects.filter(id=answer.id).update(content="The beginning")
    index_turn(message_id=answer.id)
    assert (terms(), ada.finds("the end")) == (before, [])


def test_an_excerpt_stands_around_what_was_found(ada: Owner) -> None:
    ada.says("x " * 300 + "needle\n\n" + " y" * 300)
    (found,) = ada.finds("needle")
    assert found.startswith("…x x") or found.startswith("… x x")
    assert "x [needle] y y" in found
    assert found.endswith("…")
    assert len(found) < 140


@pytest.mark.sqlite
def test_the_index_is_used_and_queries_do_not_grow(
    ada: Owner, django_assert_num_queries: Any
) -> None:
    for number in range(40):
        ada.says(f"The word {number}")
    for query, count in (("word", 3), ("wo", 4), ("zz", 3)):
        with django_assert_num_queries(count):
            search(owner_id=ada.id, query=query)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + room._FOUND, ['"word"', ada.id.hex, 30])
        plan = [row[3] for row in cursor.fetchall()]
    assert plan[0].startswith("SCAN found VIRTUAL TABLE INDEX")
    assert plan[1] == "SEARCH text USING INTEGER PRIMARY KEY (rowid=?)"
    assert not any("TEMP B-TREE" in line for line in plan)


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_a_turn_is_found_once_it_has_ended(site: FakeEngine) -> None:
    client = AsyncClient()
    body = json.dumps({"input": "Tell me <b>of</b> rivers"})
    said = (await client.post("/api/chat", body, content_type="application/json")).json()
    hits = (await client.get("/api/search", {"q": "Rivers"})).json()
    assert [(hit["message_id"], hit["role"]) for hit in hits] == [
        (None, ""),
        (said["message_id"], "assistant"),
        (hits[2]["message_id"], "user"),
    ]
    assert hits[1]["before"] == "You said: Tell me <b>of</b> "  # plain text, for the page to show
    for query in ("", "  ", "x" * 201):
        assert (await client.get("/api/search", {"q": query})).status_code == 400
