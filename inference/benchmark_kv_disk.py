"""How long the next turn of a conversation waits for its first token when the engine was restarted:
with everything computed anew, and with the cache that was kept on disk."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from inference.engine import Engine
from inference.kv_files import KVFiles, ModelFiles
from inference.loading import kv_of_model, load_codec, load_runner
from inference.offline import run_to_end
from inference.options import EngineOptions
from inference.types import GenerateRequest, ModelKind, SamplingParams

EARLIER, NEW = 1000, 32  # tokens
RUNS = 5
WAYS = ("computed anew", "from disk", "from the system's file cache")


def kv_disk(directory: Path, options: EngineOptions, disk: Path) -> dict[str, Any]:
    """Milliseconds to the first token, each way in turn, with the conversation's size on disk.
    disk: a folder; one below it is used, and removed."""
    busy = os.getloadavg()[0]  # of the machine, before we begin
    codec = load_codec(directory, ModelKind.COMPLETION, options)
    runner, options = load_runner(directory, options)
    torch.manual_seed(0)
    said = torch.randint(100, runner.config.vocab_size, (EARLIER + NEW,)).tolist()
    with tempfile.TemporaryDirectory(dir=disk, prefix="bench-kv-") as folder:
        files = KVFiles(Path(folder), 4 << 30)
        saved = kv_of_model(files, runner, codec, options)
        first = Engine(runner, codec, options, saved)
        _to_first_token(first, said[:EARLIER])
        saving = _ms(lambda: first.sessions.save(60))
        (path,) = Path(folder).glob("*/*")
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(RUNS + 1):
            for way in WAYS:
                if way == "from disk":
                    _leave_memory(path)
                kept: ModelFiles | None = None if way == "computed anew" else saved
                engine = Engine(runner, codec, options, kept)
                times[way].append(_to_first_token(engine, said))
        size = path.stat().st_size
        files.close()
    return {
        "model": directory.name,
        "device": runner.device_name,
        "threads": options.threads,
        "load_average": busy,
        "earlier_tokens": EARLIER,
        "new_tokens": NEW,
        "file_mb": size / 1e6,
        "save_ms": saving,
        "first_token_ms": {way: _row(its[1:]) for way, its in times.items()},
    }


def _to_first_token(engine: Engine, tokens: list[int]) -> float:
    sampling = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
    name = f"{time.perf_counter_ns()}"
    request = GenerateRequest(name, "bench", tuple(tokens), sampling, session="bench")
    return _ms(lambda: run_to_end(engine, [request], lambda _: None))


def _leave_memory(path: Path) -> None:
    """So that the next reading comes from the disk, where the system lets us ask for that."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _row(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "fastest": min(times), "slowest": max(times)}


def _ms(run: Any) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)
