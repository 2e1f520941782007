"""The engine begins with a request while the rows of its turn are written: nothing of it is shown
before they are there, and nothing is left of it where they cannot be."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chat import filtering, generation
from chat.answering import answered
from chat.database import in_database
from chat.generation import turns
from chat.head_start import HeadStart, events_of
from chat.models import Generation, Message, Session
from inference.types import Began, Delta, GenerateRequest, SamplingParams
from tests.chat_client import Page
from tests.fake_engine import FakeEngine, Step
from tests.test_chat_storage import impatient, locked
from tests.threaded_engine import until

__all__ = ["impatient"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


@pytest.fixture
def kept(site: FakeEngine) -> Callable[[], set[str]]:
    """The engine keeps something of each session that it is asked for; which ones it still does."""
    said = site.script

    def script(request: GenerateRequest) -> Iterator[Step]:
        assert request.session
        site.saved.add(request.session)
        yield from said(request)

    site.script = script
    return lambda: site.saved


async def test_the_engine_begins_before_the_rows_are_there(
    site: FakeEngine, kept: Callable[[], set[str]]
) -> None:
    async with Page() as page:
        with locked():
            await page.submit("Hello there")
            await until(kept)
            assert await in_database(Generation.objects.count) == 0
            assert page.socket.output_queue.empty(), "nothing is shown"
        started = await page.until("turn.started")
        end = await page.until("message.end")
    (request,) = site.requests
    assert request.session == started["session_id"] == end["session_id"]
    assert request.request_id == (await in_database(Generation.objects.get)).request_id
    assert page.shown.texts[end["message_id"]] == "You said: Hello there"
    assert site.cancelled == []
    assert kept() == {end["session_id"]}


async def test_the_same_for_the_next_turn_of_a_session(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        with locked():
            ids = {"session_id": end["session_id"], "parent_id": end["message_id"]}
            await page.submit("Two", **ids)
            await until(lambda: len(site.requests) == 2)
            assert await in_database(Generation.objects.count) == 1
        end = await page.until("message.end")
    assert page.shown.texts[end["message_id"]] == "You said: Two"
    assert {request.session for request in site.requests} == {end["session_id"]}
    assert len(site.requests) == 2


async def test_where_rows_cannot_be_written_a_new_session_is_forgotten(
    site: FakeEngine, kept: Callable[[], set[str]], impatient: None
) -> None:
    async with Page() as page:
        with locked():
            await page.submit("Hello")
            assert (await page.until_error())["code"] == "database_busy"
        (request,) = site.requests
        assert site.cancelled == [request.request_id]
        assert request.session
        assert kept() == set()
        await page.submit("Hello")
        end = await page.until("message.end")
        assert kept() == {end["session_id"]} != {request.session}
        with locked():
            ids = {"session_id": end["session_id"], "parent_id": end["message_id"]}
            await page.submit("Again", **ids)
            assert (await page.until_error())["code"] == "database_busy"
    assert site.cancelled == [request.request_id, site.requests[2].request_id]
    assert kept() == {end["session_id"]}, "what it has of an old one is as good as ever"
    assert await in_database(Session.objects.count) == 1


async def test_what_an_engine_refuses_is_not_what_is_said_of_the_rows(
    site: FakeEngine, impatient: None
) -> None:
    """Both fail: the sender is told of the rows, and the next message begins as always."""
    said, site.script = site.script, lambda request: [RuntimeError("the engine")]
    async with Page() as page:
        with locked():
            await page.submit("Hello")
            assert (await page.until_error())["code"] == "database_busy"
        await page.submit("Hello")
        end = await page.until("message.end")
        assert (end["status"], len(site.requests)) == ("FAILED", 2)
        site.script = said
        await page.submit("Hello")
        assert (await page.until("message.end"))["status"] == "DONE"


async def test_who_has_limits_is_not_served_before_they_are_looked_at(
    site: FakeEngine, settings: Any
) -> None:
    """Else whoever has used all of an allowance would still make the engine read."""
    settings.TINYLLM_TOKENS_PER_DAY = 60
    site.script = lambda request: ("a" for _ in range(10**6))
    async with Page() as page:
        await page.submit("Hello")
        end = await page.until("message.end")
        (asked,) = site.requests
        assert asked.sampling.max_tokens == 60 - len(asked.prompt_ids)
        assert page.shown.texts[end["message_id"]] == "a" * asked.sampling.max_tokens
        await page.submit("More")
        assert (await page.until("error"))["code"] == "quota_exceeded"
    assert (len(site.requests), site.cancelled) == (1, [])


async def test_the_same_message_sent_again_is_not_begun_again(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["One ", gate, "two"]
    async with Page() as page, Page() as other:
        await page.submit("Hi", client_id="mine")
        await page.until("message.delta")
        await other.submit("Hi", client_id="mine")
        await other.until("turn.started")
        gate.set()
        for each in (page, other):
            end = await each.until("message.end")
            assert each.shown.texts[end["message_id"]] == "One two"
    assert (len(site.requests), site.cancelled) == (1, [])


async def test_the_same_message_sent_twice_at_once_is_begun_once(site: FakeEngine) -> None:
    """As a page does that has lost its connection: both are there before either has rows."""
    site.script = lambda request: ["One ", "two"]
    async with Page() as one, Page() as other:
        with locked():
            for page in (one, other):
                await page.submit("Hello", client_id="the-same")
            await until(lambda: site.requests)
        ends = [await page.until("message.end") for page in (one, other)]
    assert len({end["session_id"] for end in ends}) == 1
    assert await in_database(Session.objects.count) == 1
    assert (len(site.requests), site.cancelled) == (1, [])


async def test_filters_stand_on_the_early_road_too(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_FILTERS = ["personal"]
    filtering.filters.cache_clear()
    try:
        site.script = lambda request: ["Call 139", "1234", "5678 or", " mail a@b.org"]
        async with Page() as page:
            with locked():
                await page.submit("Whom?")
                await until(lambda: site.requests)
            end = await page.until("message.end")
    finally:
        filtering.filters.cache_clear()
    expected = "Call [telephone number] or mail [mail address]"
    assert page.shown.texts[end["message_id"]] == expected
    answer = await in_database(Message.objects.get, role="assistant")
    assert (answer.content, len(site.requests)) == (expected, 1)


async def test_who_stops_a_turn_before_it_has_looked_at_its_answer_stops_the_engine(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(turn: Any, *its: Any) -> Any:
        session = turn.started.session_id
        asyncio.get_running_loop().call_soon(turns().cancel, session, "stop")
        return answered(turn, *its)

    monkeypatch.setattr(generation, "answered", stopped)
    site.script = lambda request: ["One ", asyncio.Event()]
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
    assert end["status"] == "STOPPED"
    assert site.cancelled == [request.request_id for request in site.requests]
    assert len(site.requests) == 1


# By itself


def asked(name: str, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(name, "chat", (1, 2), SamplingParams(**sampling), session="new")


async def begun(request: GenerateRequest, site: FakeEngine) -> HeadStart:
    early = HeadStart()
    await asyncio.to_thread(early.of, request, is_new=True)
    await until(lambda: site.requests)
    return early


async def test_its_deltas_are_taken_and_the_rest_is_read(site: FakeEngine) -> None:
    site.script = lambda request: ["One ", "two"]
    request, taken = asked("a"), list[Delta]()
    early = await begun(request, site)
    events = [event async for event in events_of(request, early, taken.append)]
    assert "".join(delta.text for delta in taken) == "One two"
    assert isinstance(events[0], Began)
    assert not any(isinstance(event, Delta) for event in events)
    assert (len(site.requests), site.cancelled) == (1, [])


async def test_without_a_head_start_the_engine_is_asked_then(site: FakeEngine) -> None:
    taken, never = list[Delta](), HeadStart()
    for early in (None, never):
        async for _ in events_of(asked(f"{uuid.uuid4()}"), early, taken.append):
            pass
    await never.drop()
    assert (len(site.requests), site.cancelled) == (2, [])


@pytest.mark.parametrize("said", [[asyncio.Event()], ["One ", asyncio.Event()]])
async def test_a_stop_is_heard_while_the_early_request_is_dropped(
    site: FakeEngine, said: list[Step]
) -> None:
    site.script = lambda request: said
    early = await begun(asked("a"), site)
    task = asyncio.create_task(early.drop())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert site.cancelled == ["a"]
    assert len(site.requests) == 1
