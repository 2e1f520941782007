"""What an engine tells of itself."""

from __future__ import annotations

from pathlib import Path

from inference.device_memory import MemoryNeed
from inference.engine import Engine
from inference.engine_commands import EngineState

MAP_CELLS = 512


def state_of(
    engine: Engine, directory: Path, need: MemoryNeed, stays_s: float | None
) -> EngineState:
    requests, totals = engine.look()
    return EngineState(
        directory,
        engine.is_idle,
        engine.cache.free_blocks,
        engine.cache.total_blocks,
        size=need.total,
        weights=need.weights,
        cache=need.cache,
        cached_blocks=engine.cache.cached_blocks,
        block_map=engine.cache.block_map(MAP_CELLS),
        totals=totals,
        requests=requests,
        stays_s=stays_s,
    )
