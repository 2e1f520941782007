"""What the real engine says of its requests while they wait, read and write."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from inference.engine_thread import EngineThread
from inference.errors import ModelBusy
from inference.request_status import Totals
from tests.threaded_engine import Gate, gate, read, request, store, thread, tokens, until

__all__ = ["gate", "store", "thread"]

pytestmark = pytest.mark.real_engine


async def test_requests_are_named_with_their_numbers(thread: EngineThread, gate: Gate) -> None:
    gate.close()
    asked = [replace(request(name), tenant=f"of {name}") for name in "abcde"]
    tasks = [asyncio.create_task(read(thread, each)) for each in asked]
    await until(lambda: bool(gate.steps))
    looking = asyncio.create_task(thread.status())
    # It is answered between two steps, and nobody says before which one the question arrives.
    while not looking.done():
        gate.allow(1)
        await asyncio.sleep(0.001)
    (model,) = looking.result().models
    states = {each.request_id: each.state for each in model.requests}
    assert (model.running, model.waiting) == (4, 1)
    assert sorted(states.values()) == ["running"] * 4 + ["waiting"]
    first = model.requests[0]
    assert (first.tenant, first.prompt_tokens) == (f"of {first.request_id}", 3)
    assert first.age_s > 0
    assert model.weights > 0
    assert model.cache > 0
    assert model.weights + model.cache <= model.size
    gate.allow()
    await asyncio.gather(*tasks)
    status = await thread.status()
    (model,) = status.models
    assert model.requests == ()
    assert model.totals == Totals(5, 15, 150)
    assert model.used_blocks == 0
    assert 0 < model.cached_blocks < model.total_blocks
    assert model.block_map.count("1") == model.cached_blocks
    assert len(model.block_map) == model.total_blocks
    assert status.process is not None
    assert status.process.pid == os.getpid()
    assert status.process.memory > 10**7


async def test_a_cancelled_request_s_work_counts_too(thread: EngineThread, gate: Gate) -> None:
    stream = thread.stream(request("a"))
    while len(gate.steps) < 5:
        await anext(stream)
    await stream.aclose()
    await until(lambda: all(engine.is_idle for engine in thread.engines()))
    (model,) = (await thread.status()).models
    assert model.totals.requests == 1
    assert model.totals.prompt_tokens == 3
    assert 1 <= model.totals.output_tokens <= 30


async def test_a_model_is_loaded_and_unloaded_on_demand(thread: EngineThread, gate: Gate) -> None:
    await thread.load("tiny")
    (model,) = (await thread.status()).models
    assert model.state == "ready"
    gate.close()
    reading = asyncio.create_task(read(thread, request("a")))
    await until(lambda: bool(gate.steps))
    unloading = asyncio.create_task(thread.unload("tiny"))
    gate.allow()
    with pytest.raises(ModelBusy):
        await unloading
    await reading
    await thread.unload("tiny")
    await thread.unload("tale")  # the same files, and gone already
    assert (await thread.status()).models == ()
    assert len(tokens(await read(thread, request("b")))) == 30


async def test_how_long_models_stay_can_be_changed(thread: EngineThread) -> None:
    await thread.load("tiny")
    thread.keep_alive(0)
    assert (await thread.status()).models[0].stays_s is None
    thread.keep_alive(5000)
    stays_s = (await thread.status()).models[0].stays_s
    assert stays_s is not None
    assert 4000 < stays_s <= 5000
