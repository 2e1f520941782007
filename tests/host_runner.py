"""The GPU runner's bookkeeping without a GPU: its buffers are on the CPU, and a graph is the call
that it was captured from. What a GPU computes differently is left to tests/gpu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import kernels
from inference import decode_graphs, draft_checks, prompt_graphs
from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.options import EngineOptions
from inference.weights import Weights

__all__ = ["MakeRunner", "on_host"]

MakeRunner = Callable[[Path, EngineOptions], CudaRunner]


class CalledGraph:
    """Replayed by calling, into the tensors of the first call."""

    def __init__(self, run: Callable[[], Any], result: Any) -> None:
        self._run, self._result = run, result

    def replay(self) -> None:
        again = self._run()
        if isinstance(again, torch.Tensor):
            self._result.copy_(again)


class _Event:
    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def _captured(run: Callable[[], Any], _pool: object) -> tuple[CalledGraph, Any]:
    result = run()
    return CalledGraph(run, result), result


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRunner]:
    """Makes a CudaRunner of a model's folder. Its products and its attention are those of the
    deterministic mode, as the CPU has them."""
    for room in (decode_graphs, draft_checks, prompt_graphs):
        monkeypatch.setattr(room, "captured", _captured)
    device, empty = torch.device, torch.empty
    for name, value in {
        "current_device": lambda: 0,
        "Event": _Event,
        "synchronize": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "none")
    monkeypatch.setattr(kernels, "prefill_tiles", lambda *_: torch.zeros(0, 2, dtype=torch.int32))
    monkeypatch.setattr(torch, "device", lambda *_: device("cpu"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **more: empty(*a, **more))
    kernels.use_products(kernels.Products(invariant=True))

    def make(directory: Path, options: EngineOptions) -> CudaRunner:
        return CudaRunner(ModelConfig.load(directory), Weights(directory), options)

    yield make
    kernels.use_products(kernels.Products())
