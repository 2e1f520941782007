"""Started engine threads with three tiny models of one size and a budget for some of them.

Import the fixtures by name into a test module.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from inference.engine_thread import EngineThread
from inference.file_reading import FileReading
from inference.memory_budget import suited
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import EngineEvent
from tests.kept_engine import started_and_stopped
from tests.threaded_engine import HANG, store
from tests.tiny_llama import write_tiny_llama

__all__ = ["brake", "disk", "models", "store"]

OPTIONS = EngineOptions(device="cpu", threads=1, kv_tokens=2048, max_batch=4, step_tokens=64)
MODELS = ("tiny", "half", "third")


@pytest.fixture
def models(store: ModelStore) -> ModelStore:
    """Three models of one size."""
    for seed, name in enumerate(MODELS[1:], start=1):
        write_tiny_llama(store.models_dir / name, seed=seed)
    return store


@asynccontextmanager
async def running(
    store: ModelStore, *, room: float = 9, **more: Any
) -> AsyncIterator[EngineThread]:
    """A started engine with a budget for so many models."""
    _, need = suited(store.directory("tiny"), OPTIONS, on_gpu=False, budget=10**9)
    options = replace(OPTIONS, memory_bytes=int(room * need.total), **more)
    async with started_and_stopped(EngineThread(store, options)) as its:
        yield its


async def loaded(engine: EngineThread) -> set[str]:
    return {state.directory.name for state in (await engine.report()).engines}


def of(kind: type, events: list[EngineEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Disk:
    """A disk whose reads can be held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_free = threading.Event()
        self.is_free.set()
        run = FileReading.run

        def held(reading: FileReading) -> None:
            assert self.is_free.wait(HANG)
            run(reading)

        monkeypatch.setattr(FileReading, "run", held)


class Brake:
    """Steps of requests that are called "busy" take their time, while it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = True
        run = ModelRunner.run

        def braked(runner: ModelRunner, chunks: Any) -> Any:
            if self.is_on and chunks[0].sequence.request.request_id == "busy":
                time.sleep(0.01)
            return run(runner, chunks)

        monkeypatch.setattr(ModelRunner, "run", braked)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Brake:
    return Brake(monkeypatch)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)
