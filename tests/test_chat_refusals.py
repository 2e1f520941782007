"""What cannot begin is refused in words, and nothing is written."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.errors import MAX_TEXT
from chat.generation import turns
from chat.models import Message
from inference.errors import EngineCrashed, EngineError, EngineStopped
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"text": "  \n "}, "empty_input", "input"),
        ({"text": "x" * (MAX_TEXT + 1)}, "input_too_long", "input"),
        ({"text": "x", "model": "nothing"}, "model_not_found", None),
        ({"text": "x", "model": "absent"}, "model_unavailable", None),
        ({"text": "x", "session_id": str(uuid.uuid4())}, "session_not_found", "session_id"),
        ({"text": "x", "sampling": {"temperature": 9}}, "invalid_parameter", "temperature"),
        ({"text": "x", "sampling": {"top_k": "many"}}, "invalid_parameter", "top_k"),
        ({"text": "x", "sampling": {"tempo": 1}}, "invalid_request", "tempo"),
        ({"text": "x" * 5000}, "context_length_exceeded", None),
    ],
)
async def test_what_cannot_begin_writes_nothing(
    site: FakeEngine, fields: dict[str, object], code: str, param: str | None
) -> None:
    async with Page() as page:
        name = await page.submit(**fields)  # type: ignore[arg-type]
        error = await page.receive()
    assert (error["type"], error["code"], error["client_id"]) == ("error", code, name)
    assert error["fields"].get("param") == param
    assert await in_database(Message.objects.count) == 0
    assert site.requests == []


async def test_a_prompt_that_does_not_fit_is_told_both_numbers(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("x" * 5000)
        error = await page.receive()
    assert error["fields"]["context_length"] == 4096
    assert error["fields"]["prompt_tokens"] > 5000
    assert "4096" in error["message"]


@pytest.mark.parametrize("error", [EngineCrashed("it fell", 12), EngineStopped("It stopped.")])
async def test_what_is_away_for_a_while_says_when_to_come_back(
    site: FakeEngine, error: EngineError
) -> None:
    site.script = lambda request: [error]
    answer = await AsyncClient().post("/api/chat", {"input": "Go"}, content_type="application/json")
    assert (answer.status_code, answer["Retry-After"]) == (503, str(error.retry_after_s))
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
    assert end["error"]["retry_after_s"] == error.retry_after_s
    turns()._accepting = False  # as of the moment when a drain begins
    refused = await AsyncClient().post(
        "/api/chat", {"input": "Go"}, content_type="application/json"
    )
    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    async with Page() as page:
        await page.submit("Go")
        told = await page.receive()
    assert (told["type"], told["code"], told["retry_after_s"]) == ("error", "shutting_down", 10)


async def test_two_sends_at_once_make_one_turn(site: FakeEngine) -> None:
    site.script = lambda request: ["First"]
    async with Page() as page:
        await page.submit("Begin")
        end = await page.until("message.end")
        gate = asyncio.Event()
        site.script = lambda request: [gate, "Second"]
        for text in ("One", "Two"):
            await page.submit(
                text, session_id=end["session_id"], parent_id=end["message_id"], client_id=text
            )
        answers: dict[str, Frame] = {}
        while not {"error", "turn.started"} <= answers.keys():  # in either order
            frame = await page.receive()
            answers[frame["type"]] = frame
        gate.set()
        await page.until("message.end")
    error, started = answers["error"], answers["turn.started"]
    assert (error["code"], error["retryable"]) == ("turn_in_progress", True)
    assert {error["client_id"], started["client_id"]} == {"One", "Two"}
    assert await in_database(Message.objects.count) == 4
