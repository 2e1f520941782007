"""What each endpoint of the stored API asks of the database, however much there is to tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from chat.database import in_database
from chat.models import Generation, Message, Session
from tests.api_v1_client import call, say, session, told
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

# The first query of each finds out who asks.
QUERIES = {
    "get sessions": 3,
    "get sessions?limit=1": 3,
    "get sessions/{session}": 4,
    "get sessions/{session}/settings": 2,
    "get sessions/{session}/messages": 5,
    "get sessions/{session}/messages?branch=shown": 5,
    "get sessions/{session}/messages/{answer}": 5,
    "get generations/{generation}": 2,
    "get search?q=One": 4,
    "get shares": 2,
    "get usage": 4,
    "put sessions/{session}/branch": 7,
    "put sessions/{session}/settings": 3,
    "put sessions/{session}/messages/{answer}/rating": 5,
    "delete sessions/{session}/messages/{answer}/rating": 5,
    "patch sessions/{session}": 3,
    "post sessions": 2,
    "post sessions/{session}/stop": 2,
    "post sessions/{session}/shares": 8,
    "post sessions/{session}/messages/{answer}/fork": 9,
    "delete shares/{link}": 3,
}
BODY = {"value": 1, "settings": {}, "title": "Another"}


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Statements of all threads that read or write rows."""
    asked: list[str] = []
    execute = CursorWrapper.execute

    def noting(self: Any, sql: Any, params: Any = None) -> Any:
        if str(sql).lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            asked.append(str(sql))
        return execute(self, sql, params)

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", noting)
        yield asked


async def ask(asked: str, ids: dict[str, Any]) -> Any:
    method, path = asked.format(**ids).split(" ")
    body = (
        {**BODY, "message_id": str(ids["answer"])} if method in ("put", "patch", "post") else None
    )
    answer = await call(method, path, body)
    assert answer.status_code < 300, (asked, answer.content)


async def grown(session_id: str) -> None:
    """Twenty more messages in it, each with a record, and twenty more sessions."""

    def write() -> None:
        origin = Session.objects.get(id=session_id)
        first = Generation.objects.filter(session=origin).first()
        assert first is not None
        end = Message.objects.filter(session=origin).order_by("created_at").last()
        for number in range(20):
            end = Message.objects.create(
                session=origin, parent=end, role="assistant", content=f"One {number}"
            )
            its = {"session": origin, "message": end, "status": "DONE", "owner": "p"}
            Generation.objects.create(**its, model="chat", request_id="r")
            Session.objects.create(owner=origin.owner, title=f"One {number}", model="chat")

    await in_database(write)


async def test_each_endpoint_s_queries(site: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids: dict[str, Any] = {"session": await session()}
    answer = await say(ids["session"], "One")
    link = await told("post", f"sessions/{ids['session']}/shares", {}, status=201)
    ids |= {"answer": answer["id"], "generation": answer["generations"][0], "link": link["id"]}
    await told("get", "sessions")  # opens the connections
    found = {}
    for asked in QUERIES:
        if asked == "delete shares/{link}":
            await grown(ids["session"])
        with counted(monkeypatch) as queries:
            await ask(asked, ids)
        found[asked] = len(queries)
    assert found == QUERIES


async def test_reading_more_asks_no_more(site: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids: dict[str, Any] = {"session": await session()}
    answer = await say(ids["session"], "One")
    ids |= {"answer": answer["id"], "generation": answer["generations"][0]}
    await grown(ids["session"])
    for asked, expected in QUERIES.items():
        if asked.startswith("get"):
            with counted(monkeypatch) as queries:
                await ask(asked, ids)
            assert len(queries) == expected, (asked, queries)
