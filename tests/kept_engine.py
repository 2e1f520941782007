"""Engines on a tiny model that keep what sessions have computed in a folder, and talks of several
turns with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference.client import EngineClient
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.types import Finished, GenerateRequest, SamplingParams
from tests.threaded_engine import read, tokens

OPTIONS = EngineOptions(
    device="cpu",
    threads=1,
    kv_tokens=2048,
    max_batch=4,
    step_tokens=64,
    kv_disk_mb=64,
    kv_idle_s=3600,
)
SAMPLING = SamplingParams(temperature=0.8, seed=3, max_tokens=20, ignore_eos=True)


def text(length: int, seed: int) -> list[int]:
    return [5 + (seed + 7 * length + 3 * i * i + i) % 500 for i in range(length)]


@asynccontextmanager
async def started(
    store: ModelStore, folder: Path | None, **options: Any
) -> AsyncIterator[EngineThread]:
    """When it has stopped, no block of its caches is held."""
    async with started_and_stopped(
        EngineThread(store, replace(OPTIONS, kv_folder=folder, **options))
    ) as its:
        yield its


@asynccontextmanager
async def started_and_stopped(its: EngineThread) -> AsyncIterator[EngineThread]:
    """From its start to its stop, after which no block of its caches is held."""
    await its.start()
    try:
        yield its
    finally:
        await its.stop()
        for engine in its.engines():
            engine.cache.check_integrity()
            assert engine.cache.free_blocks == engine.cache.total_blocks


@dataclass
class Talk:
    """said: all tokens so far, prompts and answers. answer: of the last turn."""

    session: str
    said: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    turns: int = 0

    async def turn(self, client: EngineClient, length: int = 40) -> Finished:
        """Another turn, whose words depend on the session and the turn alone."""
        self.turns += 1
        prompt = self.said + text(length, 31 * self.turns + len(self.session))
        name = f"{self.session}-{self.turns}"
        request = GenerateRequest(name, "tiny", tuple(prompt), SAMPLING, session=self.session)
        events = await read(client, request)
        self.answer = tokens(events)
        self.said = prompt + self.answer
        finished = events[-1]
        assert isinstance(finished, Finished)
        return finished


def files_of(folder: Path, session: str = "") -> list[Path]:
    """All files that name the session, unfinished ones as well."""
    return sorted(folder.glob(f"*/{session}*"))
