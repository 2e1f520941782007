"""How long a story takes: one reader, one prompt, our own engine on CPU cores."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.evaluation.subject import SAMPLING
from inference.machine import machine
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind

TOKENS = 200
THREADS = 2
RUNS = 5
PROMPT = "Once upon a time"


def story_speed(name: str, directory: Path) -> dict[str, Any]:
    """Seconds for a story of TOKENS tokens on THREADS threads, the median of RUNS. Raises
    ModelUnavailable and its subclasses."""
    options = EngineOptions(device="cpu", threads=THREADS, kv_tokens=1024)
    model = OfflineModel(directory, ModelKind.COMPLETION, options)
    prompt = model.codec.encode(PROMPT, add_special_tokens=True)
    sampling = replace(SAMPLING, max_tokens=TOKENS, ignore_eos=True, seed=1)
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        model.generate(prompt, sampling)
        seconds.append(time.perf_counter() - start)
    kept = seconds[1:]  # the first one compiles and warms up
    return {
        "machine": machine(),
        "model": name,
        "threads": THREADS,
        "tokens": TOKENS,
        "seconds": statistics.median(kept),
        "fastest": min(kept),
        "slowest": max(kept),
        "runs": RUNS,
    }
