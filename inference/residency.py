"""Which models stay in memory. This is the whole policy; `residents.py` carries it out.

- A model that nobody has asked for during `keep_alive_s` is unloaded.
- All models share one budget. Where one that is asked for does not fit, idle ones are unloaded, the
  one that was used longest ago first, and no more than it takes.
- One that is busy is never unloaded: where the busy ones leave no room, the request waits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in memory. size: bytes of all that is unloaded with it. last_used: when it last had
    work, in seconds of a monotonic clock."""

    directory: Path
    size: int
    is_idle: bool
    last_used: float


def overdue(residents: Collection[Resident], keep_alive_s: float, now: float) -> list[Path]:
    """Those that nobody has wanted for long enough. keep_alive_s: 0 is for ever."""
    ends = _ends(residents, keep_alive_s)
    return [directory for directory, end in ends.items() if end <= now]


def next_end(residents: Collection[Resident], keep_alive_s: float) -> float | None:
    """When `overdue` is to be asked next. None: not before something changes."""
    return min(_ends(residents, keep_alive_s).values(), default=None)


def room_for(size: int, residents: Collection[Resident], budget: int) -> list[Path] | None:
    """Which to unload so that `size` bytes, at most the budget, fit beside the others. None: what
    is busy leaves no room."""
    free = budget - sum(resident.size for resident in residents)
    oldest_first = sorted(_idle(residents), key=lambda resident: resident.last_used)
    chosen: list[Resident] = []
    for resident in oldest_first:
        if free >= size:
            break
        chosen.append(resident)
        free += resident.size
    if free < size:
        return None
    for resident in reversed(chosen):  # a large one may have made the small ones' going needless
        if free - resident.size >= size:
            chosen.remove(resident)
            free -= resident.size
    return [resident.directory for resident in chosen]


def _ends(residents: Collection[Resident], keep_alive_s: float) -> dict[Path, float]:
    if not keep_alive_s:
        return {}
    return {idle.directory: idle.last_used + keep_alive_s for idle in _idle(residents)}


def _idle(residents: Collection[Resident]) -> list[Resident]:
    return [resident for resident in residents if resident.is_idle]
