"""Rates of a whole engine, scheduler and sampling included, beside what the GPU allows; and the
memory that it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from inference.benchmark_shapes import (
    attention_operations,
    cache_bytes,
    layer_bytes,
    weight_bytes,
)
from inference.config import ModelConfig
from inference.engine import Engine
from inference.gpu_timing import Limits
from inference.offline import run_to_end
from inference.options import EngineOptions
from inference.types import GenerateRequest, SamplingParams


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured of an engine, in tokens. A decode rate is that between the short-th and the
    long-th token of an answer, after prompts of each of depths. Several readers at once, batches,
    have short prompts and shorter answers, from batch_short to batch_long tokens; overlap_steps of
    them are looked at several times, once by the profiler. requests: how many are given at once, of
    batch_prompt tokens in and out. first: prompts whose first token is timed. marks: of answers,
    where memory is looked at."""

    depths: tuple[int, ...] = (128, 2048, 8192 - 288)
    short: int = 32
    long: int = 288
    runs: int = 5
    batches: tuple[int, ...] = (8, 64, 256)
    batch_prompt: int = 128
    batch_short: int = 8
    batch_long: int = 136
    batch_runs: int = 3
    requests: int = 1000
    overlap_steps: int = 32
    first: tuple[int, ...] = (2048,)
    marks: tuple[int, ...] = (1000, 10000)
    peer_seconds: float = 12.0

    @property
    def context(self) -> int:
        return max(*self.depths, *self.first) + self.long

    @property
    def overlap_long(self) -> int:
        return self.short + 6 * self.overlap_steps

    @property
    def options(self) -> EngineOptions:
        readers = max(self.batches)
        answer = max(self.batch_long, self.overlap_long)
        together = readers * (self.batch_prompt + answer + 16)
        return EngineOptions(
            kv_tokens=max(together, 2 * self.context),
            max_batch=readers,
            step_tokens=max(4096, 2 * readers),
            queue_limit=max(2 * readers, self.requests),
            reuse=False,  # prompts are random: there is nothing to find
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens per second, of all readers together: median, slowest and fastest run. limit: what
    reading every byte once, and computing, allow at the rates measured; share of it."""

    tokens: int
    readers: int
    value: float
    slowest: float
    fastest: float
    limit: float
    share: float


def decode_rates(
    engine: Engine, config: ModelConfig, plan: Plan, limits: Limits
) -> list[dict[str, Any]]:
    """One reader at each depth."""
    cases = [(1, depth, plan.long, plan.runs) for depth in plan.depths]
    return [asdict(_rate(engine, config, plan.short, limits, *case)) for case in cases]


def batch_rates(
    engine: Engine, config: ModelConfig, plan: Plan, limits: Limits
) -> list[dict[str, Any]]:
    """Several readers."""
    cases = [(n, plan.batch_prompt, plan.batch_long, plan.batch_runs) for n in plan.batches]
    return [asdict(_rate(engine, config, plan.batch_short, limits, *case)) for case in cases]


def request_rate(engine: Engine, plan: Plan) -> dict[str, float]:
    """Many requests, from the first to the end of the last: seconds, and tokens that were written
    in one. The engine takes as many at once as it has seats."""
    seconds = answer_seconds(engine, plan.requests, plan.batch_prompt, plan.batch_prompt)
    tokens = plan.requests * plan.batch_prompt
    return {"requests": plan.requests, "seconds": seconds, "tokens_per_s": tokens / seconds}


def _rate(
    engine: Engine,
    config: ModelConfig,
    short: int,
    limits: Limits,
    readers: int,
    prompt: int,
    long: int,
    runs: int,
) -> Rate:
    answer_seconds(engine, readers, prompt, short)
    differences = [
        answer_seconds(engine, readers, prompt, long)
        - answer_seconds(engine, readers, prompt, short)
        for _ in range(runs)
    ]
    rates = [readers * (long - short) / seconds for seconds in differences]
    limit = decode_limit(config, readers, prompt + (short + long) // 2, limits)
    value = statistics.median(rates)
    return Rate(prompt, readers, value, min(rates), max(rates), limit, value / limit)


def decode_limit(config: ModelConfig, readers: int, context: int, limits: Limits) -> float:
    """Tokens per second: each step reads all weights and every reader's cache, and computes two
    operations with each weight for each reader."""
    weights = weight_bytes(config)
    reading = (weights + readers * cache_bytes(config, context)) / limits.read
    computing = readers * weights / limits.matrix
    return readers / max(reading, computing)


def first_tokens(
    engine: Engine, config: ModelConfig, plan: Plan, limits: Limits
) -> list[dict[str, float]]:
    """Milliseconds from a prompt to its first token. limit_ms: of its operations."""
    rows = []
    for tokens in plan.first:
        answer_seconds(engine, 1, tokens, 1)
        times = [1e3 * answer_seconds(engine, 1, tokens, 1) for _ in range(plan.runs)]
        head = weight_bytes(config) - layer_bytes(config)
        operations = tokens * layer_bytes(config) + head + attention_operations(config, tokens)
        row = {"tokens": tokens, "ms": statistics.median(times)}
        row |= {"fastest": min(times), "slowest": max(times)}
        rows.append({**row, "limit_ms": 1e3 * operations / limits.matrix})
    return rows


def requests_of(readers: int, prompt: int, output: int) -> list[GenerateRequest]:
    """Greedy ones with random prompts, that long."""
    sampling = SamplingParams(temperature=0, max_tokens=output, ignore_eos=True)
    return [
        GenerateRequest(
            f"{time.perf_counter_ns()}-{i}",
            "bench",
            tuple(torch.randint(100, 200, (prompt,)).tolist()),
            sampling,
        )
        for i in range(readers)
    ]


def answer_seconds(engine: Engine, readers: int, prompt: int, output: int) -> float:
    """From the requests to the last one's end."""
    requests = requests_of(readers, prompt, output)
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # what the answer before left under way
    start = time.perf_counter()
    run_to_end(engine, requests, _raise_errors)
    return time.perf_counter() - start


def _raise_errors(events: Sequence[tuple[str, object]]) -> None:
    """A request that failed is no measurement."""
    for _, event in events:
        if isinstance(event, Exception):
            raise event


def cache_size(config: ModelConfig, plan: Plan) -> int:
    return cache_bytes(config, 16 * -(-plan.options.kv_tokens // 16))


def memory() -> dict[str, int]:
    """Bytes: of tensors, of torch's pools, of the GPU by anyone, of this process on the host."""
    free, total = torch.cuda.mem_get_info()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "allocated": torch.cuda.memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "gpu": total - free,
        "process": pages * 4096,
    }


def memory_growth(engine: Engine, plan: Plan) -> list[dict[str, int]]:
    """Memory after so many tokens of answers, by one reader after another."""
    rows, tokens = [], 0
    for mark in plan.marks:
        while tokens < mark:
            step = min(plan.long, mark - tokens)
            answer_seconds(engine, 1, plan.batch_prompt, step)
            tokens += step
        rows.append({"tokens": tokens, **memory()})
    return rows
