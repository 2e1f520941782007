"""Moments between what was shown, what was logged and what a lock holds up: all say one thing."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.database import in_database
from chat.generation import turns
from chat.models import Event, Generation, Message
from chat.packing import unpack
from chat.recovery import recover
from chat.selectors import session_position
from chat.signals import Listener
from inference.types import Delta
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.test_chat_storage import impatient, locked

__all__ = ["impatient"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def test_what_was_held_back_at_a_kill_is_written_again(site: FakeEngine) -> None:
    """The E might have become the stop string END. It was not shown, so it is not kept either: a
    continuation that began behind it would leave it out."""
    site.script = lambda request: [Delta("Half", tuple(b"HalfE"), (0, 1, 2, 3, 4))]
    async with Page() as page:
        await page.submit("Go", sampling={"stop": ["END"]})
        end = await page.until("message.end")

    def abandon() -> None:
        """As a process leaves it that dies before the end is written."""
        Event.objects.filter(kind="message.end").delete()
        Generation.objects.update(
            status="RUNNING",
            output_ids=b"",
            owner=uuid.uuid4().hex,
            heartbeat_at=timezone.now() - timedelta(seconds=31),
        )

    await in_database(abandon)
    await in_database(recover, process=turns().process)
    row = await in_database(Generation.objects.get)
    assert (row.status, bytes(unpack(row.output_ids))) == ("FAILED", b"Half")
    site.script = lambda request: ["Every"]
    where = {name: end[name] for name in ("session_id", "message_id")}
    async with Page() as page:
        await page.send("turn.continue", **where)
        page.shown.texts[end["message_id"]] = "Half"
        await page.until("message.end")
    assert bytes(site.requests[-1].prompt_ids[-4:]) == b"Half"
    assert await stored() == "HalfEvery"


async def stored() -> str:
    return (await in_database(lambda: Message.objects.get(role="assistant"))).content


async def test_more_than_may_wait_ends_the_answer_at_a_word_that_is_kept(
    site: FakeEngine, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays locked until the memory for events is used up."""
    monkeypatch.setattr("chat.event_log.MAX_PENDING", 20)
    gate = asyncio.Event()
    site.script = lambda request: ["Before. ", gate, *(f"word{n} " for n in range(50))]
    expected = "Before. " + "".join(f"word{n} " for n in range(20))
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        await turns().log.flush()
        with locked():
            gate.set()
            while page.shown.texts[delta["message_id"]] != expected:
                await page.until("message.delta")
        end = await page.until("message.end")
    assert (end["status"], end["error"]["code"]) == ("FAILED", "storage_failed")
    assert "20 events are waiting" in end["error"]["message"]
    assert end["can_continue"]
    async with Page() as again:
        await again.send("session.open", session_id=end["session_id"], after=0)
        await again.until("message.end")
    shown: dict[str, Any] = again.shown.texts
    assert await stored() == expected == shown[end["message_id"]]


async def test_a_turn_that_ends_while_its_reader_is_looked_up_loses_nothing(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader comes with a number of this turn, and the database says where the session stood
    before it ended."""
    gate = asyncio.Event()
    site.script = lambda request: ["One ", gate, "two."]

    async def slow(function: Any, **its: Any) -> Any:
        result = await in_database(function, **its)
        if function is session_position:
            gate.set()
            turn = turns().get(its["session_id"])
            assert turn is not None
            await turn.wait_end()
        return result

    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
    monkeypatch.setattr("chat.follow.in_database", slow)
    async with Page(page.shown) as again:
        await again.send("session.open", session_id=delta["session_id"], after=delta["seq"])
        opened = await again.receive()
        assert (opened["type"], opened["live"]) == ("session.opened", False)
        again.shown.seq = delta["seq"]
        end = await again.until("message.end")
    assert again.shown.texts[end["message_id"]] == "One two." == await stored()


async def test_who_waits_to_write_holds_up_nobody_who_reads(site: FakeEngine) -> None:
    """More writers than there are threads, each patient for as long as it is outside of tests."""
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
    writers = [Page() for _ in range(6)]
    with locked():
        for number, writer in enumerate(writers):
            await writer.__aenter__()
            await writer.submit(f"Number {number}")
        async with Page() as reader:
            await reader.send("session.open", session_id=end["session_id"], after=0)
            assert (await reader.receive())["type"] == "session.opened"
            await reader.until("message.end")
        assert await in_database(Generation.objects.count) == 1
    for number, writer in enumerate(writers):
        told = await writer.until("message.end")
        assert writer.shown.texts[told["message_id"]] == f"You said: Number {number}"
        await writer.__aexit__(None, None, None)


@pytest.mark.parametrize("steps", range(4))
async def test_a_reader_who_leaves_as_a_signal_comes_is_gone(steps: int) -> None:
    """However far the signal has come: a reader who forgot to leave would wait for the next one."""
    signal = asyncio.get_running_loop().create_future()

    class Layer:
        async def receive(self, channel: str) -> Any:
            return await signal

    async def listen() -> None:
        await Listener(Layer(), "session").wait()
        heard.append(True)
        await asyncio.Event().wait()

    heard: list[bool] = []
    reader = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    signal.set_result({"type": "session.changed"})
    for _ in range(steps):
        await asyncio.sleep(0)
    reader.cancel()
    done, _ = await asyncio.wait([reader], timeout=5)
    assert reader in done, heard
    assert reader.cancelled()
