"""Several models under one budget: who is loaded, who goes, who waits, and what is given back."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.engine_thread import EngineThread
from inference.errors import DeadlineExceeded, InvalidParameter, MemoryBudgetTooSmall, QueueFull
from inference.file_reading import FileReading
from inference.memory_budget import suited
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import Delta, EngineEvent, Loading, Queued
from tests.threaded_engine import HANG, Gate, gate, read, request, rest, store, tokens, until
from tests.tiny_llama import write_tiny_llama

__all__ = ["gate", "store"]

pytestmark = pytest.mark.real_engine

OPTIONS = EngineOptions(device="cpu", threads=1, kv_tokens=2048, max_batch=4, step_tokens=64)
MODELS = ("tiny", "half", "third")


@pytest.fixture
def models(store: ModelStore) -> ModelStore:
    """Three models of one size."""
    for seed, name in enumerate(MODELS[1:], start=1):
        write_tiny_llama(store.models_dir / name, seed=seed)
    return store


@asynccontextmanager
async def running(
    store: ModelStore, *, room: float = 9, **more: Any
) -> AsyncIterator[EngineThread]:
    """A started engine with a budget for so many models."""
    _, need = suited(store.directory("tiny"), OPTIONS, on_gpu=False, budget=10**9)
    options = replace(OPTIONS, memory_bytes=int(room * need.total), **more)
    its = EngineThread(store, options)
    await its.start()
    try:
        yield its
    finally:
        await its.stop()
        for engine in its.engines():
            engine.cache.check_integrity()
            assert engine.cache.free_blocks == engine.cache.total_blocks


async def loaded(engine: EngineThread) -> set[str]:
    return {state.directory.name for state in (await engine.report()).engines}


def of(kind: type, events: list[EngineEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Disk:
    """A disk whose reads can be held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_free = threading.Event()
        self.is_free.set()
        run = FileReading.run

        def held(reading: FileReading) -> None:
            assert self.is_free.wait(HANG)
            run(reading)

        monkeypatch.setattr(FileReading, "run", held)


class Brake:
    """Steps of requests that are called "busy" take their time, while it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = True
        run = ModelRunner.run

        def braked(runner: ModelRunner, chunks: Any) -> Any:
            if self.is_on and chunks[0].sequence.request.request_id == "busy":
                time.sleep(0.01)
            return run(runner, chunks)

        monkeypatch.setattr(ModelRunner, "run", braked)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Brake:
    return Brake(monkeypatch)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# The budget


async def test_the_one_that_was_used_longest_ago_makes_room(models: ModelStore) -> None:
    async with running(models, room=2) as its:
        alone = {name: tokens(await read(its, request("a", model=name))) for name in MODELS}
        assert await loaded(its) == {"half", "third"}
        await read(its, request("a", model="half"))
        assert tokens(await read(its, request("a", model="tiny"))) == alone["tiny"]
        assert await loaded(its) == {"half", "tiny"}
        assert len(set(map(tuple, alone.values()))) == 3


async def test_a_busy_one_stays_though_it_was_used_longest_ago(
    models: ModelStore, brake: Brake
) -> None:
    async with running(models, room=2) as its:
        expected = tokens(await read(its, request("a")))
        stream = its.stream(request("busy", max_tokens=400))
        events = [await anext(stream)]
        await read(its, request("b", model="half", max_tokens=1))
        await read(its, request("c", model="third", max_tokens=1))
        assert await loaded(its) == {"tiny", "third"}
        assert len(tokens(events)) < 400
        brake.is_on = False
        await rest(stream, events)
        assert tokens(events)[:30] == expected
        assert len(tokens(events)) == 400


async def test_who_finds_no_room_waits_and_nobody_overtakes(models: ModelStore, gate: Gate) -> None:
    async with running(models, room=1) as its:
        expected = tokens(await read(its, request("a")))
        gate.close()
        busy = asyncio.create_task(read(its, request("busy")))
        await until(lambda: gate.steps_of("busy") == 1)
        half = its.stream(request("half", model="half"))
        later = its.stream(request("later"))
        for place, stream in enumerate((half, later), start=1):
            told = asyncio.ensure_future(anext(stream))
            await until(lambda: its._worker is not None and not its._worker._commands.empty())
            gate.allow(1)
            assert await told == Queued(place)
        assert await loaded(its) == {"tiny"}
        gate.open = True
        gate.allow()
        events: list[EngineEvent] = []
        others: list[EngineEvent] = []
        await asyncio.gather(rest(half, events), rest(later, others))
        assert tokens(await busy) == tokens(others) == expected
        assert len(tokens(events)) == 30
        assert of(Loading, events)
        assert of(Loading, others)
        assert await loaded(its) == {"tiny"}


async def test_one_that_can_never_fit_is_refused_with_numbers(models: ModelStore) -> None:
    async with running(models, room=1) as its:
        expected = tokens(await read(its, request("a")))
        write_tiny_llama(models.models_dir / "large", layers=4)
        with pytest.raises(MemoryBudgetTooSmall) as refused:
            await read(its, request("b", model="large"))
        fields = refused.value.fields
        assert fields["needed"] > fields["budget"] == (await its.report()).budget
        assert fields["would_fit"].startswith("TINYLLM_DTYPE=bfloat16 or ")
        assert "TINYLLM_MEMORY_GB=" in refused.value.message
        assert await loaded(its) == {"tiny"}
        assert tokens(await read(its, request("a"))) == expected


async def test_at_the_start_nobody_makes_room_for_another(models: ModelStore) -> None:
    entries = models.catalogue.entries
    for name in entries:
        entries[name] = replace(entries[name], default=True)  # type: ignore[index]
    async with running(models, room=1) as its:
        assert await loaded(its) == {"tiny"}
        assert len(tokens(await read(its, request("a", model="half")))) == 30


# Idle


def mapped(directory: Path) -> bool:
    return str(directory / "model.safetensors") in Path("/proc/self/maps").read_text()


async def test_an_idle_one_gives_its_memory_back_and_comes_again(models: ModelStore) -> None:
    async with running(models) as its:
        expected = tokens(await read(its, request("a")))
    async with running(models, keep_alive_s=0.3) as its:
        assert tokens(await read(its, request("a"))) == expected
        (engine,) = its.engines()
        caches = weakref.ref(engine._runner._caches[0].k)  # type: ignore[attr-defined]
        held = weakref.ref(engine)
        del engine
        assert mapped(models.directory("tiny"))
        assert caches() is not None
        await until(lambda: not its.engines())  # by itself: nobody tells it anything
        await until(lambda: held() is None)
        assert caches() is None
        assert not mapped(models.directory("tiny"))
        assert (await its.report()).engines == ()
        again = await read(its, request("a"))
        assert tokens(again) == expected
        assert of(Loading, again)


async def test_a_busy_one_is_not_unloaded(models: ModelStore, gate: Gate) -> None:
    async with running(models, keep_alive_s=0.05) as its:
        gate.close()
        stream = its.stream(request("a"))
        first = asyncio.ensure_future(anext(stream))
        await until(lambda: gate.steps_of("a") == 1)
        await asyncio.sleep(0.15)
        gate.open = True
        gate.allow()
        events: list[EngineEvent] = [await first]
        await rest(stream, events)
        assert not of(Loading, events[1:])
        assert len(tokens(events)) == 30


# Loads


async def test_streams_go_on_while_another_model_is_loaded(
    models: ModelStore, gate: Gate, disk: Disk
) -> None:
    async with running(models) as its:
        expected = [tokens(await read(its, request("a")))]
        disk.is_free.clear()
        loading = asyncio.create_task(read(its, request("half", model="half")))
        await until(lambda: its._worker is not None and its._worker._residents.loading is not None)
        expected += [tokens(await read(its, request("b")))]  # all of it while the disk is busy
        assert (await its.status()).models[-1].state == "loading"
        disk.is_free.set()
        events = await loading
        assert expected[0] == expected[1]
        shares = [event.done / event.total for event in of(Loading, events)]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
        kinds = [isinstance(event, Delta) for event in events[:-1]]
        assert kinds == sorted(kinds)  # none of it after the answer has begun


async def test_a_model_is_made_ready_between_the_steps_of_others(
    models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    run = ModelRunner.run

    def noted(runner: ModelRunner, chunks: Any) -> Any:
        order.append(chunks[0].sequence.request.request_id)
        return run(runner, chunks)

    monkeypatch.setattr(ModelRunner, "run", noted)
    async with running(models) as its:
        order.clear()
        stream = its.stream(request("long", max_tokens=400))
        events = [await anext(stream)]
        await read(its, request("half", model="half"))
        await rest(stream, events)
        assert len(tokens(events)) == 400
    first, second = (i for i, name in enumerate(order) if name == "warm-up")
    assert "long" in order[first:second]


async def test_who_leaves_or_is_late_while_a_model_is_loaded_waits_no_more(
    models: ModelStore, disk: Disk
) -> None:
    async with running(models) as its:
        disk.is_free.clear()
        leaving = its.stream(request("leaving", model="half"))
        assert isinstance(await anext(leaving), Loading)
        with pytest.raises(InvalidParameter):
            await read(its, request("leaving", model="half"))
        await leaving.aclose()
        with pytest.raises(DeadlineExceeded):
            await read(its, replace(request("late", model="half"), deadline_s=0.05))
        assert (await its.report()).waiting == {}
        disk.is_free.set()
        assert len(tokens(await read(its, request("leaving", model="half")))) == 30


async def test_the_line_has_an_end(models: ModelStore, disk: Disk) -> None:
    async with running(models, queue_limit=2) as its:
        disk.is_free.clear()
        waiting = [asyncio.create_task(read(its, request(n, model="half"))) for n in "ab"]
        await until(lambda: its._worker is not None and len(its._worker._line) == 2)
        with pytest.raises(QueueFull):
            await read(its, request("c", model="half"))
        disk.is_free.set()
        assert [len(tokens(events)) for events in await asyncio.gather(*waiting)] == [30, 30]


async def test_the_end_of_the_engine_is_told_to_who_waits_for_a_model(
    models: ModelStore, disk: Disk
) -> None:
    async with running(models) as its:
        disk.is_free.clear()
        waiting = asyncio.create_task(read(its, request("a", model="half")))
        await until(lambda: its._worker is not None and len(its._worker._line) == 1)
        await its.stop()
        with pytest.raises(Exception, match="The engine has stopped"):
            await waiting
        disk.is_free.set()


async def test_the_status_tells_what_there_is(models: ModelStore, gate: Gate) -> None:
    async with running(models, keep_alive_s=60, max_batch=1) as its:
        (tiny,) = (await its.status()).models
        assert (tiny.names, tiny.state, tiny.device) == (("tiny", "tale"), "ready", "cpu")
        assert (tiny.running, tiny.waiting, tiny.used_blocks, tiny.total_blocks) == (0, 0, 0, 128)
        assert tiny.stays_s is not None
        assert 50 < tiny.stays_s <= 60
        gate.close()
        reading = [asyncio.create_task(read(its, request(name))) for name in "ab"]
        await until(lambda: len(gate.steps) == 1)
        asking = asyncio.create_task(its.status())
        await asyncio.sleep(0.05)
        gate.allow(1)
        (busy,) = (await asking).models
        assert (busy.running, busy.waiting, busy.stays_s) == (1, 1, None)
        assert 0 < busy.used_blocks < 128
        gate.open = True
        gate.allow()
        await asyncio.gather(*reading)
        assert busy.size < (await its.status()).budget
