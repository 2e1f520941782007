"""The whole engine on a GPU beside the same on the CPU, on tiny random Llamas."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine, StepEvents
from inference.errors import DeviceLost, EngineError, RequestFailed
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import Delta, Finished, GenerateRequest, SamplingParams
from inference.weights import Weights
from tests.company import NoText
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.gpu

OPTIONS = EngineOptions(kv_tokens=2048, max_batch=8, step_tokens=64)
GREEDY = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
SHAPES: dict[str, dict[str, Any]] = {
    "small": {},
    "grouped": {"heads": 8, "kv_heads": 1, "head_dim": 32, "hidden": 128, "intermediate": 208},
    "biased": {"attention_bias": True, "mlp_bias": True, "tied": False},
}
_names = itertools.count()


Make = Callable[..., Engine]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Engine of a tiny model on a device."""

    def engine(device: str, shape: str = "small", dtype: str = "float32", **more: Any) -> Engine:
        folder = tmp_path / f"{shape}-{dtype}"
        if not folder.exists():
            write_tiny_llama(folder, dtype=dtype, **SHAPES[shape])
        options = replace(OPTIONS, **more)
        if device == "cpu":
            return Engine(ModelRunner(folder, options), NoText(), options)  # type: ignore[arg-type]
        runner = CudaRunner(ModelConfig.load(folder), Weights(folder), options)
        runner.warm_up()
        return Engine(runner, NoText(), options)  # type: ignore[arg-type]

    return engine


def request(prompt: range | list[int], sampling: SamplingParams = GREEDY) -> GenerateRequest:
    return GenerateRequest(f"r{next(_names)}", "m", tuple(prompt), sampling)


def run(engine: Engine, requests: list[GenerateRequest], *, apart: int = 0) -> list[list[int]]:
    """The tokens of each; `apart` steps pass before the next one is added."""
    tokens: dict[str, list[int]] = {r.request_id: [] for r in requests}

    def take(events: StepEvents) -> None:
        for name, event in events:
            if isinstance(event, EngineError):
                raise event
            if isinstance(event, Delta):
                tokens[name] += event.token_ids

    for one in requests:
        engine.add(one)
        for _ in range(apart):
            take(engine.step())
    while not engine.is_idle:
        take(engine.step())
    engine.cache.check_integrity()
    assert engine.cache.free_blocks == engine.cache.total_blocks
    return list(tokens.values())


@pytest.mark.parametrize("shape", SHAPES)
def test_in_fp32_tokens_are_the_cpus(make: Make, shape: str) -> None:
    prompts = [range(3, 20), range(100, 101), range(200, 400)]
    expected = [run(make("cpu", shape), [request(p)])[0] for p in map(list, prompts)]
    engine = make("cuda", shape)
    assert [run(engine, [request(list(p))])[0] for p in prompts] == expected


@pytest.mark.parametrize("apart", [0, 1, 5])
def test_those_who_come_and_go_do_not_change_each_other(make: Make, apart: int) -> None:
    """In fp32, where a near-tie is not decided by how many rows there are."""
    engine = make("cuda")
    prompts = [list(range(5 + i, 5 + 7 * i + 10)) for i in range(7)]
    samplings = [replace(GREEDY, max_tokens=10 + 9 * i) for i in range(7)]
    alone = [run(engine, [request(*pair)])[0] for pair in zip(prompts, samplings, strict=True)]
    together = [request(*pair) for pair in zip(prompts, samplings, strict=True)]
    assert run(engine, together, apart=apart) == alone


def test_a_seed_gives_the_cpus_tokens(make: Make) -> None:
    sampled = [
        SamplingParams(temperature=0.9, top_k=20, seed=7, max_tokens=30, ignore_eos=True),
        SamplingParams(temperature=1.1, top_p=0.8, seed=8, max_tokens=30, ignore_eos=True),
        SamplingParams(
            temperature=0.7,
            min_p=0.02,
            repetition_penalty=1.3,
            presence_penalty=0.5,
            frequency_penalty=0.2,
            seed=9,
            max_tokens=30,
            ignore_eos=True,
        ),
        replace(GREEDY, logit_bias={11: 100.0}),
    ]
    cpu = [run(make("cpu"), [request(range(3, 30), s)])[0] for s in sampled]
    assert run(make("cuda"), [request(range(3, 30), s) for s in sampled], apart=2) == cpu


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", ["small", "grouped"])
def test_one_kernel_is_the_composition(make: Make, shape: str, dtype: str) -> None:
    """Logits, since with random weights a near-tie may go either way. Contexts of several spans."""
    engine = make("cuda", shape, dtype)
    runner: Any = engine._runner
    decoder = runner._architecture.on_gpu(runner._caches)
    if decoder is None:
        pytest.fail("the tiny model should fit the kernel on this GPU")
    run(engine, [request(range(3, 10), replace(GREEDY, max_tokens=2))])
    rows = runner._rows
    for position in (0, 1, 15, 16, 127, 128, 300):
        blocks = torch.arange(rows.block_tables.shape[1], dtype=torch.int32, device="cuda")
        for cache in runner._caches:
            cache.k.normal_()
            cache.v.normal_()
        rows.clear()
        rows.block_tables[0] = blocks
        rows.positions[0], rows.context_lens[0], rows.slots[0] = position, position + 1, position
        with torch.inference_mode():
            one = decoder.run(
                runner._table.sampled[:1], rows.positions[:1], rows.block_tables[0]
            ).clone()
            other = runner._decodes._logits(slice(0, 1))
        error = (one - other).norm() / other.norm()
        assert error < {"float16": 4e-3, "bfloat16": 3e-2}[dtype], position


def test_cancel_frees_at_once_and_the_seat_serves_the_next(make: Make) -> None:
    engine = make("cuda")
    expected = run(engine, [request(range(3, 30))])[0]
    for _ in range(20):
        doomed = request(range(50, 90), replace(GREEDY, max_tokens=300))
        engine.add(doomed)
        for _ in range(5):
            engine.step()
        engine.cancel(doomed.request_id)
        assert engine.cache.free_blocks == engine.cache.total_blocks
    assert run(engine, [request(range(3, 30))])[0] == expected


def test_an_overflow_fails_alone(make: Make, tmp_path: Path) -> None:
    engine = make("cuda", "biased")  # whose head is not its embedding
    runner: Any = engine._runner
    runner._architecture._embedding[9] = torch.nan
    bad, good = request([9, 9]), request([10, 11, 12])
    engine.add(bad)
    engine.add(good)
    events: StepEvents = []
    while not engine.is_idle:
        events += engine.step()
    failed = [name for name, event in events if isinstance(event, RequestFailed)]
    ended = [name for name, event in events if isinstance(event, Finished)]
    assert failed == [bad.request_id]
    assert ended == [good.request_id]


def test_all_memory_has_a_name(make: Make) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    engine = make("cuda", "grouped", "bfloat16")
    run(engine, [request(range(3, 3 + n)) for n in (1, 40, 200, 300)])
    runner: Any = engine._runner
    named = runner.memory
    assert set(named) >= {"weights", "cache", "rows", "prompt graphs", "decode graphs"}
    kept = torch.cuda.memory_allocated() - before
    assert kept <= 1.01 * sum(named.values()), named


def test_memory_does_not_grow(make: Make) -> None:
    engine = make("cuda")
    many = [request(range(3, 40), replace(GREEDY, max_tokens=200)) for _ in range(5)]
    run(engine, many)
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for _ in range(8):
        run(engine, [request(range(3, 40), replace(GREEDY, max_tokens=200)) for _ in range(5)])
    after = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    assert after[0] <= 1.01 * before[0]
    assert after[1] <= 1.01 * before[1]


def lose_the_gpu(folder: Path) -> None:
    """In a process of its own, which the GPU then refuses. Exits with 3 when the engine says so."""
    import cupy

    runner = CudaRunner(ModelConfig.load(folder), Weights(folder), OPTIONS)
    engine = Engine(runner, NoText(), OPTIONS)  # type: ignore[arg-type]
    engine.add(request(range(3, 30)))
    engine.step()
    cupy.RawKernel('extern "C" __global__ void trap() { __trap(); }', "trap")((1,), (1,), ())
    try:
        for _ in range(10):
            engine.step()
    except DeviceLost:
        os._exit(3)


def test_a_kernel_that_traps_loses_the_device(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "tiny")
    process = get_context("spawn").Process(target=lose_the_gpu, args=(folder,))
    process.start()
    process.join(120)
    assert process.exitcode == 3
