"""Whatever visitors do, each of their requests ends once, and the engine is empty afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kernels
from inference.engine import Engine, StepEvents
from inference.options import EngineOptions
from tests.engine_traffic import ENDS, REFUSALS, WatchedThread, draw_visitors, play

pytestmark = pytest.mark.real_engine

SEED = 20261127
# A cache that holds one answer, a queue that is soon full, one that everybody fits into, one that
# finds nothing again.
ROOMS: dict[str, dict[str, Any]] = {
    "tiny": {"kv_tokens": 64, "max_batch": 2, "step_tokens": 8},
    "queue": {"kv_tokens": 256, "max_batch": 4, "step_tokens": 32, "queue_limit": 4},
    "roomy": {"kv_tokens": 4096, "max_batch": 16, "step_tokens": 64, "deterministic": True},
    "forgetful": {"kv_tokens": 192, "max_batch": 8, "step_tokens": 40, "reuse": False},
}
BUSY: dict[str, Any] = {"kv_tokens": 512, "max_batch": 8, "step_tokens": 64}


@pytest.fixture(autouse=True)
def products_afterwards() -> Iterator[None]:
    yield
    kernels.use_products(kernels.Products())


async def traffic(
    folder: Path,
    room: dict[str, Any],
    count: int,
    on_end: Callable[[int], None] = lambda ended: None,
) -> Counter[str]:
    its, draw = EngineOptions(device="cpu", threads=1, **room), random.Random(SEED)
    thread = WatchedThread(folder, its)
    await thread.start()
    # one more than there is place for, where few may wait
    together = min(16, its.max_batch + its.queue_limit + 1)
    return await play(thread, draw_visitors(draw, its, count), together=together, on_end=on_end)


@pytest.mark.parametrize("room", ROOMS)
async def test_each_of_five_hundred_ends_once_and_every_block_comes_home(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Engine.step

    def checked(engine: Engine) -> StepEvents:
        events = step(engine)
        engine.cache.check_integrity()
        return events

    monkeypatch.setattr(Engine, "step", checked)
    counts = await traffic(tmp_path, ROOMS[room], 125)
    expected = {*ENDS, *REFUSALS} - ({"queue_full"} if room != "queue" else set())
    assert counts.total() == 125
    assert set(counts) == expected, counts


def resident_kib() -> int:
    """Memory of this process at this moment."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


@pytest.mark.soak
def test_ten_thousand_visitors_leave_the_memory_as_it_was(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sizes: dict[int, int] = {}

    def measure(ended: int) -> None:
        if ended in (1_000, 10_000):
            sizes[ended] = resident_kib()

    # pytest keeps every line of the log for its report, which would be most of the growth
    logging.disable(logging.CRITICAL)
    try:
        counts = asyncio.run(traffic(tmp_path, BUSY, 10_000, measure))
    finally:
        logging.disable(logging.NOTSET)
    growth = sizes[10_000] / sizes[1_000] - 1
    record_property("seed", SEED)
    record_property("requests", counts.total())
    record_property("ends", dict(counts))
    record_property("resident KiB after 1,000 and 10,000", [sizes[1_000], sizes[10_000]])
    record_property("growth", round(growth, 5))
    assert counts.total() == 10_000
    assert growth <= 0.01
