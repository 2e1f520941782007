"""Models that come and go on a GPU: what they took is given back, and they answer as before."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine_process import EngineProcess
from inference.memory_budget import suited
from inference.options import EngineOptions
from inference.types import EngineEvent, Loading
from inference.weights import Weights
from tests.process_engine import OPTIONS, tiny_store
from tests.threaded_engine import read, request, rest, tokens
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.gpu, pytest.mark.real_engine]

SIZES = EngineOptions(kv_tokens=65536, max_batch=8, step_tokens=64)


def test_a_runner_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    """Once what is kept for all models is there; without a collection of garbage."""
    directory = write_tiny_llama(tmp_path / "tiny", dtype="float16")

    def load() -> CudaRunner:
        runner = CudaRunner(ModelConfig.load(directory), Weights(directory), SIZES)
        runner.warm_up()
        return runner

    load().close()
    gc.collect()
    torch.cuda.empty_cache()
    gc.disable()
    try:
        before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        runner = load()
        cache = runner._caches[0].k.nbytes * 2 * len(runner._caches)
        assert torch.cuda.memory_allocated() > before + cache
        closed = weakref.ref(runner)
        runner.close()
        del runner
        assert closed() is None
        assert torch.cuda.memory_allocated() == before
        assert torch.cuda.memory_reserved() <= reserved + (2 << 20)
    finally:
        gc.enable()


async def test_two_models_take_turns_in_room_for_one(tmp_path: Path) -> None:
    """A load goes on between the steps of another model, whose answer stays the same."""
    store = tiny_store(tmp_path)
    write_tiny_llama(tmp_path / "half", seed=1)
    options = replace(OPTIONS, device="cuda")
    _, need = suited(tmp_path / "tiny", options, on_gpu=True, budget=10**10)
    alone: dict[str, list[int]] = {}
    for room in (2.5, 1.5):
        its = EngineProcess(store, replace(options, memory_bytes=int(room * need.total)))
        await its.start()
        try:
            for name in ("tiny", "half"):
                said = tokens(await read(its, request("a", model=name)))
                assert alone.setdefault(name, said) == said
            both: dict[str, list[EngineEvent]] = {"tiny": [], "half": []}
            streams = {name: its.stream(request(name, model=name)) for name in both}
            await asyncio.gather(*(rest(streams[name], both[name]) for name in both))
            assert {name: tokens(events) for name, events in both.items()} == alone
            loads = [any(isinstance(e, Loading) for e in events) for events in both.values()]
            assert any(loads) is (room < 2)
            assert len((await its.report()).engines) == int(room)
        finally:
            await its.stop()


async def test_a_long_answer_is_the_same_while_another_model_is_loaded(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    write_tiny_llama(tmp_path / "half", seed=1)
    its = EngineProcess(store, replace(OPTIONS, device="cuda", keep_alive_s=600))
    await its.start()
    try:
        expected = tokens(await read(its, request("alone", max_tokens=500)))
        stream = its.stream(request("long", max_tokens=500))
        events = [await anext(stream)]
        await asyncio.gather(
            rest(stream, events), read(its, request("half", model="half", max_tokens=2))
        )
        assert tokens(events) == expected
    finally:
        await its.stop()
