"""How well host and GPU work at the same time while many answers are being written: the share of
time in which the GPU has nothing to do, and how much of a step the host is busy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile

from inference.engine import Engine
from inference.gpu_rates import Plan, requests_of

_RUNS = 3


class WaitingRunner(Protocol):
    """A runner that knows how long it has waited for its device, in seconds: CudaRunner."""

    waited_s: float


def overlap(engine: Engine, runner: WaitingRunner, plan: Plan) -> list[dict[str, Any]]:
    """A row for each batch of the plan: milliseconds of a step, those in which the host does not
    wait for the GPU (median, fastest, slowest), and the GPU's idle share, by the profiler."""
    return [_row(engine, runner, plan, readers) for readers in plan.batches]


def _row(engine: Engine, runner: WaitingRunner, plan: Plan, readers: int) -> dict[str, Any]:
    requests = requests_of(readers, plan.batch_prompt, plan.overlap_long)
    for request in requests:
        engine.add(request)
    while engine.in_prefill:
        engine.step()
    for _ in range(plan.short):
        engine.step()
    times = [_host_and_wall(engine, runner, plan.overlap_steps) for _ in range(_RUNS)]
    idle = _idle_share(engine, plan.overlap_steps)
    for request in requests:
        engine.cancel(request.request_id)
    torch.cuda.synchronize()
    host, wall = zip(*times, strict=True)
    return {
        "readers": readers,
        "step_ms": _spread(wall),
        "host_ms": _spread(host),
        "gpu_idle_share": idle,
    }


def _host_and_wall(engine: Engine, runner: WaitingRunner, steps: int) -> tuple[float, float]:
    """Milliseconds of a step: the host's own work, and all."""
    start, waited = time.perf_counter(), runner.waited_s
    for _ in range(steps):
        engine.step()
    wall = time.perf_counter() - start
    return 1e3 * (wall - (runner.waited_s - waited)) / steps, 1e3 * wall / steps


def _idle_share(engine: Engine, steps: int) -> float:
    """Of the time between the first and the last kernel."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        for _ in range(steps):
            engine.step()
        torch.cuda.synchronize()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == "CUDA"
    ]
    return idle_share(spans)


def idle_share(spans: Iterable[tuple[float, float]]) -> float:
    """Of the time from the first beginning to the last end, what no span covers."""
    ordered = sorted(spans)
    if not ordered:
        raise ValueError("the profiler saw no kernel")
    begin, end = ordered[0]
    first, idle = begin, 0.0
    for begin, stop in ordered[1:]:
        idle += max(0.0, begin - end)
        end = max(end, stop)
    return idle / (end - first) if end > first else 0.0


def _spread(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "fastest": ordered[0],
        "slowest": ordered[-1],
    }
