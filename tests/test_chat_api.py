"""REST: the seed endpoints word for word, event streams, and one envelope for every refusal."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.errors import MAX_TEXT
from chat.event_stream import event_stream
from chat.identity import local_user
from chat.models import Session
from inference.errors import QueueFull
from tests.chat_client import Page, Shown
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

NOBODYS = "00000000-0000-4000-8000-000000000000"
"""The id of no session."""


async def say(**body: Any) -> Any:
    return await AsyncClient().post("/api/chat", json.dumps(body), content_type="application/json")


def error_of(answer: Any) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


async def test_a_chat_is_answered_with_its_session(site: FakeEngine) -> None:
    answer = await say(input="Hello there", model="chat")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "session_id", "response", "model", "message_id", "finish_reason", "usage",
    }  # fmt: skip
    assert (body["response"], body["model"]) == ("You said: Hello there", "chat")
    assert (body["finish_reason"], body["usage"]["output_tokens"]) == ("stop", 22)


async def test_a_session_goes_on_and_is_read_back(site: FakeEngine) -> None:
    first = (await say(input="One", model="chat")).json()
    second = (await say(input="Two", model="chat", session_id=first["session_id"])).json()
    assert second["session_id"] == first["session_id"]
    client = AsyncClient()
    (listed,) = (await client.get("/api/sessions")).json()
    assert (listed["id"], listed["title"], listed["model"]) == (first["session_id"], "One", "chat")
    found = (await client.get(f"/api/sessions/{first['session_id']}")).json()
    assert [(message["role"], message["content"]) for message in found["messages"]] == [
        ("user", "One"),
        ("assistant", "You said: One"),
        ("user", "Two"),
        ("assistant", "You said: Two"),
    ]
    assert found["messages"][3]["id"] == second["message_id"]
    assert found["messages"][3]["parent_id"] == found["messages"][2]["id"]


async def test_a_message_says_whether_it_was_written_deterministically(site: FakeEngine) -> None:
    site.deterministic = True
    made = (await say(input="One")).json()
    found = (await AsyncClient().get(f"/api/sessions/{made['session_id']}")).json()
    assert [message["deterministic"] for message in found["messages"]] == [False, True]


async def test_a_story_goes_on_from_plain_text(site: FakeEngine) -> None:
    site.script = lambda request: [" there was"]
    answer = await say(input="Once upon a time", model="story")
    assert answer.json()["response"] == " there was"
    assert site.requests[0].prompt_ids == tuple(b"Once upon a time")


async def test_a_deleted_session_is_gone(site: FakeEngine) -> None:
    made = (await say(input="One")).json()
    client = AsyncClient()
    gone = await client.delete(f"/api/sessions/{made['session_id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.get("/api/sessions")).json() == []
    for method in (client.get, client.delete):
        answer = await method(f"/api/sessions/{made['session_id']}")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "session_not_found")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "invalid_request", "input"),
        ({"input": None}, 400, "invalid_request", "input"),
        ({"input": 7}, 400, "invalid_request", "input"),
        ({"input": ""}, 400, "empty_input", "input"),
        ({"input": " \n\t "}, 400, "empty_input", "input"),
        ({"input": "x" * (MAX_TEXT + 1)}, 413, "input_too_long", "input"),
        ({"input": "x" * 5000}, 400, "context_length_exceeded", None),
        ({"input": "x\ud800"}, 400, "invalid_request", "input"),
        ({"input": "x", "model": "nothing"}, 404, "model_not_found", None),
        ({"input": "x", "model": "../../etc"}, 404, "model_not_found", None),
        ({"input": "x", "model": "absent"}, 503, "model_unavailable", None),
        ({"input": "x", "session_id": NOBODYS}, 404, "session_not_found", "session_id"),
        ({"input": "x", "session_id": "nonsense"}, 400, "invalid_request", "session_id"),
        ({"input": "x", "temperature": -1}, 400, "invalid_parameter", "temperature"),
        ({"input": "x", "temperature": 2.1}, 400, "invalid_parameter", "temperature"),
        ({"input": "x", "temperature": "hot"}, 400, "invalid_request", "temperature"),
        ({"input": "x", "top_p": 0}, 400, "invalid_parameter", "top_p"),
        ({"input": "x", "top_k": -1}, 400, "invalid_parameter", "top_k"),
        ({"input": "x", "max_tokens": 0}, 400, "invalid_parameter", "max_tokens"),
        ({"input": "x", "seed": -1}, 400, "invalid_parameter", "seed"),
        ({"input": "x", "seed": 2**63}, 400, "invalid_parameter", "seed"),
        ({"input": "x", "stop": [""]}, 400, "invalid_parameter", "stop"),
        ({"input": "x", "logit_bias": {"a": 1}}, 400, "invalid_request", "logit_bias"),
    ],
)
async def test_bad_input_gets_a_clear_error_and_writes_nothing(
    site: FakeEngine, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = await say(**body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert site.requests == []
    assert await in_database(Session.objects.count) == 0


async def test_limits_are_named(site: FakeEngine) -> None:
    assert "1000000" in error_of(await say(input="x" * (MAX_TEXT + 1)))["message"]
    message = error_of(await say(input="x" * 5000))["message"]
    assert "4096" in message
    assert re.search(r"\b50\d\d\b", message)


async def test_a_million_characters_are_read(site: FakeEngine) -> None:
    site.codecs["chat"].context_length = 4 * MAX_TEXT
    site.script = lambda request: ["ok"]
    answer = await say(input="好" * MAX_TEXT)
    assert answer.json()["response"] == "ok"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"input": "\xff"}', b"NaN"]
)
async def test_what_is_not_a_json_object_is_refused(site: FakeEngine, body: bytes) -> None:
    answer = await AsyncClient().post("/api/chat", body, content_type="application/json")
    assert answer.status_code == 400
    assert error_of(answer)["type"] == "invalid_request_error"


async def test_a_body_beyond_all_limits_is_refused(site: FakeEngine) -> None:
    body = b'{"input": "' + b"x" * 14_000_000 + b'"}'
    answer = await AsyncClient().post("/api/chat", body, content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/chat", 405, "method_not_allowed"),
        ("put", "/api/sessions", 405, "method_not_allowed"),
        ("put", f"/api/sessions/{NOBODYS}", 405, "method_not_allowed"),
        ("get", "/api/nothing", 404, "not_found"),
        ("get", "/api/sessions/nonsense", 404, "session_not_found"),
        ("delete", "/api/sessions/nonsense", 404, "session_not_found"),
        ("get", f"/api/sessions/{NOBODYS}/events", 404, "session_not_found"),
    ],
)
async def test_wrong_addresses_and_methods_answer_in_json(
    site: FakeEngine, method: str, path: str, status: int, code: str
) -> None:
    call = getattr(AsyncClient(), method)
    answer = await call(path, **({"content_type": "application/json"} if method != "get" else {}))
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    if status == 405:
        assert answer["Allow"]


async def test_a_failed_turn_is_an_error_with_its_status(site: FakeEngine) -> None:
    full = QueueFull("Too many wait.", waiting=1, limit=1, retry_after_s=7)
    site.script = lambda request: ["Half", full]
    answer = await say(input="Go")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "queue_full")
    assert error_of(answer)["type"] == "server_error"
    assert answer["Retry-After"] == "7"


async def test_a_second_request_in_a_busy_session_is_409(site: FakeEngine) -> None:
    made = (await say(input="One")).json()
    gate = asyncio.Event()
    site.script = lambda request: [gate, "late"]
    async with Page() as page:
        await page.submit("Two", session_id=made["session_id"], parent_id=made["message_id"])
        await page.until("turn.started")
        answer = await say(input="Three", session_id=made["session_id"])
        assert (answer.status_code, error_of(answer)["code"]) == (409, "turn_in_progress")
        gate.set()
        await page.until("message.end")


async def test_the_request_id_goes_all_the_way_and_comes_back(site: FakeEngine) -> None:
    answer = await AsyncClient().post(
        "/api/chat",
        '{"input": "Hi"}',
        content_type="application/json",
        headers={"x-request-id": "abc-123"},
    )
    assert answer["x-request-id"] == "abc-123"
    assert site.requests[0].request_id == "abc-123"


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\u00e9", '{"a":1}'])
async def test_a_request_id_that_could_hurt_a_log_is_replaced(
    site: FakeEngine, offered: str
) -> None:
    answer = await AsyncClient().get("/api/sessions", headers={"x-request-id": offered})
    assert re.fullmatch(r"[0-9a-f]{32}", answer["x-request-id"])


async def test_the_documentation_loads_nothing_from_elsewhere(site: FakeEngine) -> None:
    client = AsyncClient()
    page = (await client.get("/api/docs")).content.decode()
    assert "swagger" in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    schema = (await client.get("/api/openapi.json")).json()
    assert set(schema["paths"]) == {
        "/api/chat",
        "/api/engine",
        "/api/sessions",
        "/api/sessions/{session_id}",
        "/api/sessions/{session_id}/branch",
        "/api/sessions/{session_id}/events",
        "/api/sessions/{session_id}/export",
        "/api/search",
        "/api/usage",
    }


def parsed(raw: bytes) -> dict[str, Any]:
    """One server-sent event, checked against its own id and event lines."""
    lines = dict(line.split(": ", 1) for line in raw.decode().strip().splitlines())
    frame: dict[str, Any] = json.loads(lines["data"])
    assert lines["event"] == frame["type"]
    if "id" in lines:
        assert int(lines["id"]) == frame["seq"]
    return frame


async def test_the_event_stream_tells_what_the_socket_tells(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hello there")
        end = await page.until("message.end")
    owner = await in_database(local_user)
    session_id = uuid.UUID(end["session_id"])
    for after in range(end["seq"]):
        shown = Shown()
        full = page.shown.texts[end["message_id"]]
        async for raw in event_stream(owner_id=owner.id, session_id=session_id, after=after):
            frame = parsed(raw)
            if frame["type"] == "message.delta":
                shown.texts.setdefault(end["message_id"], full[: frame["offset"]])
            shown.apply(frame)
            if frame["type"] == "message.end":
                break
        assert shown.blocks == page.shown.blocks
        assert shown.texts.get(end["message_id"], full) == full


async def test_the_stream_s_position_comes_from_the_header_first(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi")
        end = await page.until("message.end")
    path = f"/api/sessions/{end['session_id']}/events?after=0"
    last = {"last-event-id": str(end["seq"] - 1)}
    answer: Any = await AsyncClient().get(path, headers=last)
    assert answer["content-type"] == "text/event-stream"
    assert (answer["cache-control"], answer["x-accel-buffering"]) == ("no-cache", "no")
    chunks = aiter(answer.streaming_content)
    assert parsed(await anext(chunks))["type"] == "session.opened"
    assert parsed(await anext(chunks))["type"] == "message.end"
    await answer.streaming_content.aclose()
    wrong = await AsyncClient().get(path, headers={"last-event-id": "x"})
    assert (wrong.status_code, error_of(wrong)["param"]) == (400, "after")


async def test_a_stream_from_beyond_the_log_is_reset(site: FakeEngine) -> None:
    made = (await say(input="Hi")).json()
    owner = await in_database(local_user)
    session_id = uuid.UUID(made["session_id"])
    stream = event_stream(owner_id=owner.id, session_id=session_id, after=999)
    assert [parsed(raw)["type"] async for raw in stream] == ["session.reset"]
