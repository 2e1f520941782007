"""Ratings of answers: given, changed, taken back, shown on the message and exported with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import AsyncClient

from chat.database import in_database
from chat.feedback import MAX_COMMENT
from chat.identity import local_user
from chat.models import Feedback, Message
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def answered() -> tuple[str, str]:
    """(session, answer)."""
    body = json.dumps({"input": "Hello"})
    told = (await AsyncClient().post("/api/chat", body, content_type="application/json")).json()
    return told["session_id"], told["message_id"]


def address(session: str, message: str) -> str:
    return f"/api/sessions/{session}/messages/{message}/rating"


async def rated(session: str, message: str, **body: Any) -> Any:
    text = json.dumps(body)
    path = address(session, message)
    return await AsyncClient().put(path, text, content_type="application/json")


async def shown(session: str) -> list[tuple[int, str]]:
    told = (await AsyncClient().get(f"/api/sessions/{session}")).json()
    return [(message["rating"], message["comment"]) for message in told["messages"]]


async def test_a_rating_is_changed_in_place_and_taken_back(site: FakeEngine) -> None:
    session, message = await answered()
    assert await shown(session) == [(0, ""), (0, "")]
    assert (await rated(session, message, value=1)).json() == {"value": 1, "comment": ""}
    first = await in_database(Feedback.objects.get)
    assert (await rated(session, message, value=-1, comment=" 太短了 ")).status_code == 200
    assert await shown(session) == [(0, ""), (-1, "太短了")]
    row = await in_database(Feedback.objects.get)
    assert (row.id, row.created_at) == (first.id, first.created_at)
    assert row.updated_at > first.updated_at
    assert row.owner_id == (await in_database(local_user)).id
    exported = (await AsyncClient().get(f"/api/sessions/{session}/export")).json()["messages"]
    assert (exported[1]["rating"], exported[1]["comment"]) == (-1, "太短了")
    assert "rating" not in exported[0]
    for _ in range(2):  # the second time there is none
        assert (await AsyncClient().delete(address(session, message))).status_code == 204
    assert await in_database(Feedback.objects.count) == 0


async def test_the_page_has_it(site: FakeEngine) -> None:
    session, message = await answered()
    await rated(session, message, value=1, comment="Right")
    html = (await AsyncClient().get(f"/sessions/{session}/")).content.decode()
    assert '"rating": 1, "comment": "Right"' in html


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"value": 0}, "value"),
        ({"value": 2}, "value"),
        ({"value": 1, "comment": "x" * (MAX_COMMENT + 1)}, "comment"),
        ({"value": 1, "comment": "\ud800"}, "comment"),
        ({}, "value"),
    ],
)
async def test_what_is_no_rating_is_named(
    site: FakeEngine, body: dict[str, Any], param: str
) -> None:
    answer = await rated(*await answered(), **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].endswith(param)
    assert await in_database(Feedback.objects.count) == 0


async def test_only_answers_of_this_session_are_rated(site: FakeEngine) -> None:
    session, message = await answered()
    other, _ = await answered()
    assert (await rated(other, message, value=1)).json()["error"]["code"] == "message_not_found"
    question = await in_database(lambda: Message.objects.get(children__id=message).id)
    assert (await rated(session, str(question), value=1)).status_code == 400
    assert (await AsyncClient().delete(f"/api/sessions/{session}")).status_code == 204
    assert (await rated(session, message, value=1)).json()["error"]["code"] == "session_not_found"


async def test_the_database_takes_one_of_two_values(site: FakeEngine) -> None:
    _, message = await answered()

    def write() -> None:
        with transaction.atomic():
            Feedback.objects.create(message_id=message, owner=local_user(), value=3)

    with pytest.raises(IntegrityError):
        await in_database(write)
