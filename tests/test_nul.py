"""The one character that PostgreSQL does not keep: refused by name on every road, replaced in an
answer. Runs on both databases (tests/test_postgres.py)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.models import Message
from tests.api_v1_client import refused, say, session, tree
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.v1_client import chat, error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

NUL = "a\0b"
SCHEMA = {"type": "json_schema", "name": "a", "schema": {"const": NUL}}


async def test_a_frame_with_it_is_refused_and_the_socket_stays(site: FakeEngine) -> None:
    async with Page() as page:
        for fields, param in (
            ({"text": NUL}, "text"),
            ({"text": "Hi", "client_id": NUL}, "client_id"),
            ({"text": "Hi", "model": NUL}, "model"),
            ({"text": "Hi", "sampling": {"stop": [NUL]}}, "stop"),
        ):
            await page.submit(**fields)
            error = await page.until_error()
            assert (error["code"], error["fields"]["param"]) == ("invalid_request", param)
            assert "U+0000" in error["message"]
        assert await in_database(Message.objects.count) == 0
        await page.submit("Hello")
        assert (await page.until("message.end"))["status"] == "DONE"


async def test_a_body_with_it_is_refused(site: FakeEngine) -> None:
    for path, fields, param in (
        ("/api/chat", {"input": NUL}, "input"),
        ("/api/chat", {"input": "Hi", "stop": NUL}, "stop"),
        ("responses", {"input": NUL}, "input"),
        ("responses", {"input": "Hi", "text": {"format": SCHEMA}}, "text.format"),
    ):
        error = error_of(await post(path, {"model": "chat", **fields}), 400)
        assert (error["code"], error["param"]) == ("invalid_request", param)
        assert "U+0000" in error["message"]
    assert site.requests == []
    # of what keeps nothing, it is a character like any other
    assert (await chat(messages=[{"role": "user", "content": NUL}])).status_code == 200


async def test_what_the_site_keeps_under_a_name_is_refused_too(site: FakeEngine) -> None:
    where = await session()
    answer = await say(where, "Hello")
    at = f"sessions/{where}/messages"
    for method, path, body, param in (
        ("post", at, {"input": NUL}, "input"),
        ("post", at, {"input": "Hi", "client_id": NUL}, "client_id"),
        ("post", f"{at}/{answer['parent_id']}/edit", {"input": NUL}, "input"),
        ("post", f"{at}/{answer['id']}/regenerate", {"stop": [NUL]}, "stop"),
        ("put", f"{at}/{answer['id']}/rating", {"value": 1, "comment": NUL}, "comment"),
        ("post", f"sessions/{where}/shares", {"author": NUL}, "author"),
        ("patch", f"sessions/{where}", {"title": NUL}, "title"),
    ):
        status, code, named, message = await refused(method, path, body)
        assert (status, code, named) == (400, "invalid_request", param)
        assert "U+0000" in message
    assert len(await tree(where)) == 2


async def test_an_answer_with_it_is_kept_with_another_mark(site: FakeEngine) -> None:
    site.script = lambda request: ["one ", "\0 two\0"]
    body = {"model": "chat", "input": "Hi"}
    answer: dict[str, Any] = json.loads((await post("/api/chat", body)).content)
    assert answer["response"] == "one � two�"
    kept = await AsyncClient().get(f"/api/sessions/{answer['session_id']}")
    assert kept.json()["messages"][-1]["content"] == "one � two�"
