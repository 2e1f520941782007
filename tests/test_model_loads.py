"""A model on its way into memory: the others' streams go on, and who waits for it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from inference.errors import DeadlineExceeded, EngineStopped, InvalidParameter, QueueFull
from inference.model_store import ModelStore
from inference.runner import ModelRunner
from inference.types import Delta, Loading
from tests.resident_engines import Brake, Disk, brake, disk, models, of, running
from tests.threaded_engine import Gate, gate, read, request, rest, store, tokens, until

__all__ = ["brake", "disk", "gate", "models", "store"]

pytestmark = pytest.mark.real_engine


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
    models: ModelStore, brake: Brake, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    run = ModelRunner.run

    def noted(runner: ModelRunner, chunks: Any) -> Any:
        order.append(chunks[0].sequence.request.request_id)
        return run(runner, chunks)

    monkeypatch.setattr(ModelRunner, "run", noted)
    async with running(models) as its:
        order.clear()
        stream = its.stream(request("busy", max_tokens=400))
        events = [await anext(stream)]
        await read(its, request("half", model="half"))
        brake.is_on = False
        await rest(stream, events)
        assert len(tokens(events)) == 400
    first, second = (i for i, name in enumerate(order) if name == "warm-up")
    assert "busy" in order[first:second]


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
        with pytest.raises(EngineStopped):
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
        while not asking.done():  # it is answered between two steps
            gate.allow(1)
            await asyncio.sleep(0.001)
        (busy,) = asking.result().models
        assert (busy.running, busy.waiting, busy.stays_s) == (1, 1, None)
        assert 0 < busy.used_blocks < 128
        gate.open = True
        gate.allow()
        await asyncio.gather(*reading)
        assert busy.size < (await its.status()).budget
