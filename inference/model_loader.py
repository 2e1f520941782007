"""Makes the engine of a model's directory, in pieces, and reckons with the memory that it takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inference import loading
from inference.client import PromptCodec
from inference.device_memory import MemoryNeed
from inference.engine import Engine
from inference.kv_files import KVFiles
from inference.memory_budget import budget_of, check_budget, suited
from inference.options import EngineOptions
from inference.process_memory import memory_held
from inference.request_status import ProcessStatus
from inference.weights import weight_files


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """options: as they suit the model, with which it takes what it needs."""

    directory: Path
    files: tuple[Path, ...]
    options: EngineOptions
    need: MemoryNeed


class ModelLoader:
    """Used by one thread, that of the engines."""

    def __init__(
        self,
        options: EngineOptions,
        codec: Callable[[Path], PromptCodec],
        files: KVFiles | None = None,
    ) -> None:
        """codec: the tokenizer of a directory. files: where the texts of sessions are kept between
        starts, if anywhere."""
        self.options, self._codec, self.files = options, codec, files

    @cached_property
    def on_gpu(self) -> bool:
        """Raises DeviceUnavailable."""
        return loading.on_gpu(self.options)

    @property
    def device(self) -> str:
        return "cuda" if self.on_gpu else "cpu"

    @cached_property
    def budget(self) -> int:
        """Bytes for all models."""
        return budget_of(self.options, loading.gpu_memory()[1] if self.on_gpu else None)

    def available(self, held: int) -> int:
        """Of the budget, what is there when models that hold so many bytes are counted as free.
        Other programs may have the rest of a GPU."""
        return min(self.budget, held + loading.gpu_memory()[0]) if self.on_gpu else self.budget

    def process_status(self) -> ProcessStatus:
        free, total = loading.gpu_memory() if self.on_gpu else (0, 0)
        return ProcessStatus(os.getpid(), memory_held(), total - free, total)

    def plan(self, directory: Path, available: int) -> LoadPlan:
        """Raises ModelUnavailable and its subclasses, MemoryBudgetTooSmall among them."""
        options, need = suited(directory, self.options, on_gpu=self.on_gpu, budget=available)
        check_budget(need, self.budget)
        return LoadPlan(directory, tuple(weight_files(directory)), options, need)

    def load(self, plan: LoadPlan) -> Generator[float, None, Engine]:
        """Yields between two pieces of the work: the share that is done. Raises ModelUnavailable
        and its subclasses."""
        codec = self._codec(plan.directory)
        runner = yield from loading.runner_in_pieces(
            plan.directory, plan.options, on_gpu=self.on_gpu
        )
        saved = loading.kv_of_model(self.files, runner, codec, plan.options)
        return Engine(runner, codec, plan.options, saved)
