"""What models do at this moment, as the site shows it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from inference.latencies import Latencies
from inference.request_status import ProcessStatus, RequestStatus, Totals


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model in memory, or on its way there. names: all that its files go by. size: bytes of
    weights, cache and what is computed in. waiting: also for the model itself. cached_blocks: free,
    with a text that may come again. block_map: as `KVCache.block_map`. stays_s: seconds until it is
    unloaded if nobody asks for it; None: for now nobody knows an end."""

    names: tuple[str, ...]
    state: Literal["ready", "loading"]
    device: str
    size: int
    running: int = 0
    waiting: int = 0
    used_blocks: int = 0
    total_blocks: int = 0
    stays_s: float | None = None
    cached_blocks: int = 0
    block_map: str = ""
    weights: int = 0
    cache: int = 0
    totals: Totals = field(default_factory=Totals)
    requests: tuple[RequestStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """budget: bytes that all models together may take. cancels: how long it took to free what
    nobody wanted any more."""

    models: tuple[ModelStatus, ...]
    budget: int
    cancels: Latencies = field(default_factory=Latencies)
    process: ProcessStatus | None = None
