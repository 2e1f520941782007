"""How long things took, counted by how long. No torch here."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds, each counted with what is below; above the last one there is one more count."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """counts[i]: how many took at most BOUNDS[i] and more than the bound before."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def and_one(self, seconds: float) -> Latencies:
        place = bisect_left(BOUNDS, seconds)
        counts = tuple(n + (index == place) for index, n in enumerate(self.counts))
        return replace(self, counts=counts, seconds=self.seconds + seconds)

    def up_to(self) -> list[tuple[str, int]]:
        """Each bound with how many took at most as long, as Prometheus has it."""
        told, count = [], 0
        for bound, n in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            count += n
            told.append((bound, count))
        return told
