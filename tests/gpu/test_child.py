"""A kernel that traps in the engine's own process, seen from the site's side of the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.engine_process import EngineProcess
from inference.errors import EngineCrashed
from inference.types import EngineEvent
from tests.child_orders import obey
from tests.process_engine import OPTIONS, exists, pid_of, tiny_store
from tests.threaded_engine import HANG, read, request, rest, text, tokens

pytestmark = [pytest.mark.gpu, pytest.mark.real_engine]

DEVICE = "cuda"
TRAPPED = "trap-20"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineProcess]:
    its = EngineProcess(tiny_store(tmp_path), replace(OPTIONS, device=DEVICE), obey)
    await its.start()
    yield its
    await its.stop()


async def read_until_it_dies(
    engine: EngineProcess, name: str, events: list[EngineEvent]
) -> EngineCrashed:
    with pytest.raises(EngineCrashed) as crashed:
        await rest(engine.stream(request(name, max_tokens=400)), events)
    return crashed.value


async def test_a_trap_ends_the_process_and_the_next_one_serves(engine: EngineProcess) -> None:
    sound, pid = await read(engine, request("sound")), pid_of(engine)
    said: dict[str, list[EngineEvent]] = {TRAPPED: [], "slow other": []}
    async with asyncio.timeout(HANG):
        errors = await asyncio.gather(
            *(read_until_it_dies(engine, name, events) for name, events in said.items())
        )
    for error, events in zip(errors, said.values(), strict=True):
        assert error.retryable
        assert "the GPU is lost to its process" in error.message
        assert tokens(events) == tokens(sound)[: len(tokens(events))] != []
        assert text(sound).startswith(text(events))
    again = await read(engine, request("again"))
    assert (tokens(again), text(again)) == (tokens(sound), text(sound))
    assert pid_of(engine) != pid
    assert not exists(pid)
