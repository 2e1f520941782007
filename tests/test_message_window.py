"""A long conversation comes to the page a window at a time."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from chat.identity import local_user
from chat.message_window import AROUND, PAGE
from chat.models import Message, Session
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db, pytest.mark.fake_engine]

COUNT = 3 * PAGE + 6


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "localhost"})


@pytest.fixture
def long(fake_engine: FakeEngine) -> tuple[Session, list[Message]]:
    session = Session.objects.create(owner=local_user(), title="Long", model="chat")
    begin = timezone.now() - timedelta(hours=1)
    messages: list[Message] = []
    for number in range(COUNT):
        at = begin + timedelta(seconds=number)
        role = "assistant" if number % 2 else "user"
        parent = messages[-1] if messages else None
        its: dict[str, Any] = {"role": role, "content": f"No. {number}", "parent": parent}
        messages.append(Message(session=session, created_at=at, shown_at=at, **its))
    Message.objects.bulk_create(messages)
    return session, messages


def numbers(html: str) -> list[int]:
    return [int(found) for found in re.findall(r"No\. (\d+)(?=</p></div>|</div>)", html)]


def begins(client: Client, session: Session, **asked: Any) -> list[int]:
    return numbers(client.get(f"/sessions/{session.id}/", asked).content.decode())


def test_a_page_begins_with_the_newest_and_leads_back_to_the_first(
    client: Client, long: tuple[Session, list[Message]]
) -> None:
    session, messages = long
    assert begins(client, session) == [*range(COUNT - PAGE, COUNT)]
    first = messages[COUNT - PAGE]
    seen: list[int] = []
    while True:
        answer = client.get(f"/sessions/{session.id}/earlier/", {"before": str(first.id)}).json()
        seen = numbers(answer["html"]) + seen
        assert [each["text"] for each in answer["messages"]] == [
            f"No. {number}" for number in numbers(answer["html"])
        ]
        assert answer["before"] == seen[0]
        if not answer["before"]:
            break
        first = messages[seen[0]]
    assert seen == [*range(COUNT - PAGE)]


def test_a_page_holds_the_message_that_was_asked_for(
    client: Client, long: tuple[Session, list[Message]]
) -> None:
    session, messages = long
    for name in ("message", "from"):
        shown = begins(client, session, **{name: str(messages[20].id)})
        assert shown == [*range(20 - AROUND, COUNT)]
        assert begins(client, session, **{name: "nonsense"}) == [*range(COUNT - PAGE, COUNT)]
    assert begins(client, session, **{"from": str(messages[1].id)}) == [*range(COUNT)]
    assert begins(client, session, **{"from": str(messages[-1].id)})[0] == COUNT - PAGE


@pytest.mark.parametrize("before", ["", "nonsense", str(uuid.UUID(int=7))])
def test_a_place_that_is_not_there_is_named(
    client: Client, long: tuple[Session, list[Message]], before: str
) -> None:
    answer = client.get(f"/sessions/{long[0].id}/earlier/", {"before": before})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "message_not_found")
    assert before in answer.json()["error"]["message"]


def test_another_session_is_not_there(client: Client, fake_engine: FakeEngine) -> None:
    answer = client.get(f"/sessions/{uuid.uuid4()}/earlier/", {"before": str(uuid.uuid4())})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
