"""Deltas that reach their reader without waking it: in order, whole, and with its own failures."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from inference.client import EngineClient
from inference.engine_thread import EngineThread
from inference.interpreter import GC_THRESHOLDS, SWITCH_S
from inference.mailbox import Mailbox
from inference.types import Began, Delta, Finished, GenerateRequest, Queued, Take, Timings
from tests.child_orders import obey
from tests.process_engine import running, tiny_store
from tests.threaded_engine import (
    HANG,
    Gate,
    gate,
    read,
    request,
    store,
    text,
    thread,
    tokens,
    until,
)

__all__ = ["gate", "store", "thread"]

END = Finished("stop", 1, 1, 0, 0, Timings())


def delta(text: str) -> Delta:
    return Delta(text, tuple(text.encode()), tuple(range(len(text))))


class Reader:
    """Reads a mailbox like a stream does, one event for each `next`."""

    def __init__(self) -> None:
        self.got: list[object] = []
        self.mailbox = Mailbox(self.got.append)

    async def waits(self) -> asyncio.Task[object]:
        """Until it does, with nothing to read."""
        task = asyncio.create_task(self.mailbox.get())
        while self.mailbox._reader is None or self.mailbox._reader.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        return task


async def test_deltas_go_to_who_waits_without_waking_it() -> None:
    reader = Reader()
    task = await reader.waits()
    for word in ("One ", "two ", "three."):
        reader.mailbox.put(delta(word))
        assert reader.got[-1] == delta(word)
    assert not task.done()
    reader.mailbox.put(END)
    assert await task == END


async def test_a_delta_waits_behind_what_was_not_read_yet() -> None:
    """Whoever took it at once would see it before the event that came before it."""
    reader = Reader()
    task = await reader.waits()
    for event in (Queued(1), delta("One "), delta("two ")):
        reader.mailbox.put(event)
    assert reader.got == []
    assert await task == Queued(1)
    reader.mailbox.put(delta("three."))
    assert reader.got == [], "its reader works on the place in the queue, and does not wait"
    assert await reader.mailbox.get() == delta("One ").joined(delta("two ")).joined(delta("three."))
    task = await reader.waits()
    reader.mailbox.put(delta("Four."))
    assert reader.got == [delta("Four.")]
    reader.mailbox.put(END)
    assert await task == END


async def test_without_a_reader_or_somebody_who_takes_them_they_are_kept() -> None:
    reader = Reader()
    reader.mailbox.put(delta("One "))
    assert reader.got == []
    assert await reader.mailbox.get() == delta("One ")
    task = await reader.waits()
    task.cancel()
    reader.mailbox.put(delta("two"))
    assert reader.got == []
    assert await reader.mailbox.get() == delta("two")
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(delta("three"))
    assert await waiting == delta("three")


async def test_what_it_raises_reaches_the_reader_and_nothing_after_it() -> None:
    got = list[Delta]()

    def take(given: Delta) -> None:
        got.append(given)
        raise LookupError(given.text)

    mailbox = Mailbox(take)
    task = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    for event in (delta("One"), delta("two"), END):
        mailbox.put(event)
    with pytest.raises(LookupError, match="One"):
        await task
    assert got == [delta("One")]
    with pytest.raises(LookupError, match="One"):
        await mailbox.get()


async def test_deltas_are_taken_in_the_reader_s_context() -> None:
    """What is logged and traced there belongs to its turn, not to who delivers."""
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen = list[str]()
    whose.set("the reader's")
    mailbox = Mailbox(lambda _: seen.append(whose.get()))
    task = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    whose.set("the deliverer's")
    mailbox.put(delta("One"))
    mailbox.put(END)
    await task
    assert seen == ["the reader's"]


# Through an engine


async def assert_taken(client: EngineClient) -> None:
    """The same as without, and nothing is both taken and read."""
    for asked in (request("a"), request("b", temperature=1.3, seed=7), request("c", stop=("e",))):
        plain = await read(client, asked)
        taken = list[Delta]()
        async with asyncio.timeout(HANG):
            stream = client.stream(replace(asked, request_id=f"{asked.request_id}-2"), taken.append)
            events = [event async for event in stream]
        assert (text([*taken]), tokens([*taken])) == (text(plain), tokens(plain))
        assert [o for d in taken for o in d.offsets] == [
            o for d in plain if isinstance(d, Delta) for o in d.offsets
        ]
        kinds = [type(event) for event in events]
        assert Delta not in kinds
        assert (kinds.count(Began), kinds[-1]) == (1, Finished)


class TooMuch:
    """Raises LookupError once it has been given so many tokens."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self, given: Delta) -> None:
        self._left -= len(given.token_ids)
        if self._left <= 0:
            raise LookupError("enough")


async def consume(client: EngineClient, asked: GenerateRequest, take: Take) -> None:
    async with asyncio.timeout(HANG):
        async for event in client.stream(asked, take):
            assert not isinstance(event, Delta)


async def test_the_thread_s_deltas_are_taken(thread: EngineThread) -> None:
    await assert_taken(thread)


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_who_takes_may_end_the_stream_of_a_thread(
    thread: EngineThread, gate: Gate, count: int
) -> None:
    """By an error, which cancels the request: also in its first delta, which comes behind another
    event and so is taken by the reader itself."""
    gate.close()
    reading = asyncio.create_task(consume(thread, request("a", max_tokens=200), TooMuch(count)))
    gate.allow(count)
    with pytest.raises(LookupError, match="enough"):
        await reading
    gate.allow()
    await until(lambda: thread.engines()[0].is_idle)
    assert gate.steps_of("a") <= count + 2
    assert len(tokens(await read(thread, request("after")))) == 30


async def test_who_has_closed_a_stream_may_ask_again_by_the_same_name(
    thread: EngineThread, gate: Gate
) -> None:
    """At once: what is told of the end comes before what is asked anew."""
    gate.close()
    stream = thread.stream(request("a", max_tokens=200))
    gate.allow(2)
    await anext(stream)
    await stream.aclose()
    again = asyncio.create_task(read(thread, request("a", max_tokens=5)))
    gate.allow()
    assert len(tokens(await again)) == 5


def note_settings(path: Path) -> None:
    """In a new engine process, before anything else."""
    path.write_text(json.dumps([*gc.get_threshold(), sys.getswitchinterval()]))
    obey()


async def test_a_process_does_what_the_thread_does(tmp_path: Path) -> None:
    noted = tmp_path / "settings"
    models = tiny_store(tmp_path / "models")
    async with running(models, partial(note_settings, noted), beat_s=0.001) as process:
        await assert_taken(process)
        before = (await process.report()).engines[0].totals.output_tokens
        with pytest.raises(LookupError, match="enough"):
            await consume(process, request("slow", max_tokens=400), TooMuch(3))
        async with asyncio.timeout(HANG):
            while not all(its.is_idle for its in (await process.report()).engines):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await process.report()).engines[0].totals.output_tokens < before + 400
    assert json.loads(noted.read_text()) == [*GC_THRESHOLDS, SWITCH_S]
