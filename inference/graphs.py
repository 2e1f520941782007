"""CUDA graphs: launches that are recorded once and replayed at the cost of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_REPLAYS = 20

_Result = TypeVar("_Result")


def captured(run: Callable[[], _Result], pool: Any) -> tuple[torch.cuda.CUDAGraph, _Result]:
    """`run` as a graph, and what it returned: tensors that each replay writes anew. It is run once
    before: what is compiled or taken from memory then is not part of the graph."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = run()
    return graph, result


def milliseconds(graph: torch.cuda.CUDAGraph) -> float:
    """Of one replay, the mean of several."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    start.record()
    for _ in range(_REPLAYS):
        graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / _REPLAYS
