"""How long launches take on a GPU, without the host's share, and the limits to judge that by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

import kernels

Run = Callable[[], object]

_REPEATS = 7
# A graph of less is repeated within itself: the clock counts in half microseconds.
_LONG_ENOUGH_US = 400.0
_MOST_ROUNDS = 200
# Far more than any cache holds, and fewer numbers than 32 bits count.
READ_BYTES = 2 << 30
MATRIX_SIZE = 8192
_READ_COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds of one launch: median, fastest and slowest of several replays."""

    median: float
    fastest: float
    slowest: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What this GPU was measured to do. read: bytes per second; matrix: operations per second of
    cuBLAS' bf16 product."""

    read: float
    matrix: float


Timer = Callable[[Sequence[Run]], Times]


def time_runs(runs: Sequence[Run]) -> Times:
    """Of one of the runs, in a graph of all of them, one after another. They do the same on
    different copies of the data, more than the GPU's cache holds. They may not ask the host."""
    runs[0]()  # compiles, takes workspaces
    once = _captured(runs)
    us = statistics.median(_replays_us(once, 3))
    rounds = min(_MOST_ROUNDS, int(_LONG_ENOUGH_US / us) + 1)
    graph = once if rounds == 1 else _captured(list(runs) * rounds)
    each = [us / (rounds * len(runs)) for us in _replays_us(graph, _REPEATS)]
    return Times(statistics.median(each), min(each), max(each))


def measure_limits(read_bytes: int = READ_BYTES, size: int = MATRIX_SIZE) -> Limits:
    """On torch's current GPU. Takes read_bytes of memory, and gives them back."""
    return Limits(_read_rate(read_bytes), _matrix_rate(size))


def _read_rate(size: int) -> float:
    """The better of torch's sum and our product with one row: which reads faster differs."""
    numbers = torch.ones(size // 4, device="cuda")
    row = torch.ones(1, _READ_COLUMNS, dtype=torch.bfloat16, device="cuda")
    weights = kernels.Matrices([numbers.view(torch.bfloat16).view(-1, _READ_COLUMNS)])
    ways: tuple[Run, ...] = (numbers.sum, lambda: kernels.matmul_transb(row, weights))
    return size / min(time_runs([way]).fastest for way in ways) * 1e6


def _matrix_rate(size: int) -> float:
    a, b = (torch.randn(size, size, device="cuda").to(torch.bfloat16) for _ in range(2))
    return 2 * size**3 / time_runs([lambda: torch.mm(a, b.t())]).fastest * 1e6


def _captured(runs: Sequence[Run]) -> torch.cuda.CUDAGraph:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return graph


def _replays_us(graph: torch.cuda.CUDAGraph, repeats: int) -> list[float]:
    """One replay goes before each that is measured, so that the host's time to start that one
    passes while the GPU is busy."""
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        graph.replay()
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(1e3 * float(start.elapsed_time(end)))
    return times
