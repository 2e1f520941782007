"""A started engine thread on a tiny random Llama, whose steps can be held and let go one by one.

Import the fixtures by name into a test module.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from inference.client import EngineClient
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import Delta, EngineEvent, GenerateRequest, SamplingParams
from tests.model_files import load_catalogue
from tests.tiny_llama import write_tiny_llama

__all__ = ["gate", "store", "thread"]

HANG = 60  # seconds after which a test that waits has failed


class Gate:
    """Lets through as many steps as are allowed; counts the steps that began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed = threading.Semaphore(0)
        self.open = True
        self.steps: list[list[str]] = []
        run = ModelRunner.run

        def gated(runner: ModelRunner, chunks: Any) -> Any:
            names = [chunk.sequence.request.request_id for chunk in chunks]
            if names != ["warm-up"]:
                self.steps.append(names)
                assert self.open or self._allowed.acquire(timeout=HANG)
            return run(runner, chunks)

        monkeypatch.setattr(ModelRunner, "run", gated)

    def close(self) -> None:
        self.open = False

    def allow(self, steps: int = 10**6) -> None:
        for _ in range(min(steps, 1000)):
            self._allowed.release()

    def steps_of(self, name: str) -> int:
        return sum(name in names for names in self.steps)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    write_tiny_llama(tmp_path / "tiny")
    return ModelStore(tmp_path, load_catalogue(tmp_path))


@pytest.fixture
async def thread(store: ModelStore, gate: Gate) -> AsyncIterator[EngineThread]:
    """A started engine; when it has stopped, no block of its caches is held."""
    options = EngineOptions(device="cpu", threads=1, kv_tokens=2048, max_batch=4, step_tokens=64)
    its = EngineThread(store, options)
    await its.start()
    yield its
    gate.allow()
    await its.stop()
    for engine in its.engines():
        engine.cache.check_integrity()
        assert engine.cache.free_blocks == engine.cache.total_blocks


def request(name: str, *, model: str = "tiny", **sampling: Any) -> GenerateRequest:
    defaults = {"temperature": 0.0, "max_tokens": 30, "ignore_eos": True}
    return GenerateRequest(name, model, (9, 8, 7), SamplingParams(**(defaults | sampling)))


async def read(thread: EngineClient, asked: GenerateRequest) -> list[EngineEvent]:
    async with asyncio.timeout(HANG):
        return [event async for event in thread.stream(asked)]


def tokens(events: list[EngineEvent]) -> list[int]:
    return [token for event in events if isinstance(event, Delta) for token in event.token_ids]


def text(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def rest(stream: AsyncIterator[EngineEvent], events: list[EngineEvent]) -> None:
    """Read on, into a list that is there also when the stream ends with an error."""
    async with asyncio.timeout(HANG):
        async for event in stream:
            events.append(event)  # noqa: PERF401


async def until(condition: Callable[[], object]) -> None:
    """Until something is so on another thread, the engine's say, which knows no asyncio.Event."""
    async with asyncio.timeout(HANG):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
