"""What a frame costs is a matter of counts: of beats, of compositions, of wake-ups and of hops.

The times that follow from them are measured by `manage.py bench web`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from chat import database, live, pulse
from chat.live import LiveTurn
from chat.outlet import Composed
from chat.pulse import Pulse
from chat.turn_records import StartedTurn
from inference.types import Delta
from tests.chat_client import Page
from tests.fake_engine import FakeEngine


class Taken:
    """An outlet that keeps what it is given; `is_full` as it is set."""

    def __init__(self) -> None:
        self.is_full = False
        self.events: list[Composed] = []

    def take(self, event: Composed | None) -> None:
        assert event is not None
        self.events.append(event)

    async def room(self) -> None:
        raise AssertionError("a live turn never waits for one reader")


def turn(its: Pulse) -> LiveTurn:
    return LiveTurn(StartedTurn(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), 1, ""), its)


def word(number: int) -> Delta:
    return Delta("word ", (number,), (5 * number,))


@asynccontextmanager
async def reading(its: LiveTurn, outlets: list[Taken]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(its.read(outlet, 1)) for outlet in outlets]
    await asyncio.sleep(0)
    yield
    its.end({"session_id": "", "length": len(its.text)}, its.seq + 1)
    for outlet in outlets:
        outlet.is_full = False
    assert await asyncio.gather(*tasks) == [its.seq + 1] * len(tasks)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> Iterator[list[int]]:
    """Calls of a function, while it does what it does."""
    calls, real = [0], getattr(where, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, counting)
        yield calls


async def test_one_beat_for_all_turns_and_one_composition_for_all_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.05)
    its = Pulse()
    turns = [turn(its) for _ in range(20)]
    outlets = [[Taken() for _ in range(3)] for _ in turns]
    async with AsyncExitStack() as all_reading:
        for each, its_readers in zip(turns, outlets, strict=True):
            await all_reading.enter_async_context(reading(each, its_readers))
        for each in turns:
            each.grow(word(0))
        assert {len(outlet.events) for some in outlets for outlet in some} == {1}, "at once"
        with (
            counted(monkeypatch, its, "_beat") as beats,
            counted(monkeypatch, live, "quoted") as quotes,
        ):
            for number in range(1, 11):
                for each in turns:
                    each.grow(word(number))
            await asyncio.sleep(0.06)
        # ten words of twenty turns, each read in three places; nothing is encoded for the log
        assert beats[0] == 1
        assert quotes[0] == len(turns)
        for some in outlets:
            assert len({outlet.events[-1].text for outlet in some}) == 1
            assert len(some[0].events) == 2


async def test_a_frame_wakes_no_reader_s_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task sleeps from the first word to the end."""
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.001)
    its, outlet = turn(Pulse()), Taken()
    woken = 0

    async def counting() -> int:
        nonlocal woken
        steps = its.read(outlet, 1).__await__()
        while True:
            woken += 1
            try:
                waited_for = next(steps)
            except StopIteration as done:
                return int(done.value)
            await asyncio.wait([waited_for])

    task = asyncio.create_task(counting())
    for number in range(10):
        its.grow(word(number))
        await asyncio.sleep(0.005)
    its.end({"session_id": "", "length": len(its.text)}, its.seq + 1)
    assert await task == its.seq + 1
    assert len(outlet.events) == 11
    assert woken == 2


async def test_who_is_full_is_passed_over_and_gets_all_of_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.001)
    its, full, other = turn(Pulse()), Taken(), Taken()
    async with reading(its, [full, other]):
        its.grow(word(0))
        full.is_full = True
        for number in range(1, 6):
            its.grow(word(number))
            await asyncio.sleep(0.005)
        assert (len(full.events), len(other.events)) == (1, 6)
        full.is_full = False
        await asyncio.sleep(0.01)
        assert len(full.events) == 2
        assert '"text":"' + "word " * 5 + '"' in full.events[1].text


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_the_first_word_is_one_hop_away(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a message and the first word of its answer lies one piece of work in the database,
    also where the conversation has a past: what begins the turn."""
    gate = asyncio.Event()
    site.script = lambda request: ["First ", gate]
    hops, real = list[str](), database._run

    async def run(pool: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        hops.append(pool._thread_name_prefix)
        return await real(pool, function, *args, **kwargs)

    ids: dict[str, Any] = {}
    for _ in range(2):
        gate.clear()
        async with Page() as page:
            with monkeypatch.context() as patch:
                patch.setattr(database, "_run", run)
                patch.setattr(site, "models", lambda: pytest.fail("models are looked up on disk"))
                hops.clear()
                await page.submit("Hello", **ids)
                await page.until("message.delta")
            assert hops == ["chat-db-write"]
            gate.set()
            end = await page.until("message.end")
            ids = {"session_id": end["session_id"], "parent_id": end["message_id"]}
