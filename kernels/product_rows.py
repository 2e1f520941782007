"""At how many rows a product changes from our kernel to torch's: measured once on a machine."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

_DEFAULT_LIMIT = 64
_CANDIDATES = (8, 16, 32, 64, 128, 256)
_limit = _DEFAULT_LIMIT


def limit() -> int:
    """The largest number of rows for which our own kernel is the faster one."""
    return _limit


def choose(key: str, store: Path, measure: Callable[[int], tuple[float, float]]) -> None:
    """Take the limit that `store` (JSON) holds for `key`, or measure it and put it there.

    It is kept because a limit that moved between two starts would change the last bits of
    results. measure(rows) gives the seconds of our kernel and of torch's.
    """
    global _limit
    known = _read(store)
    if key not in known:
        known[key] = _measured(measure)
        with contextlib.suppress(OSError):  # what cannot be kept is measured again
            _write(store, known)
    _limit = known[key]


def _read(store: Path) -> dict[str, int]:
    """What is known so far; nothing, if the file is missing or damaged."""
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(known, dict) and all(isinstance(rows, int) for rows in known.values())
    return known if whole else {}


def _write(store: Path, known: dict[str, int]) -> None:
    """In one move: another process may be reading."""
    store.parent.mkdir(parents=True, exist_ok=True)
    new = store.with_name(f"{store.name}.{os.getpid()}")
    new.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    new.replace(store)


def _measured(measure: Callable[[int], tuple[float, float]]) -> int:
    best = 1
    for rows in _CANDIDATES:
        ours, torchs = measure(rows)
        if ours > torchs:
            break
        best = rows
    return best


def best_of(run: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of several runs after one that does not count."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
