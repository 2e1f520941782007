"""How soon a process that died is started again."""

from __future__ import annotations

HEALTHY_S = 60.0
"""A process that served for so long was well; what ended it is taken for a new trouble."""
AT_ONCE = 2
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


class Restarts:
    """Twice at once; from the third death in a row on after pauses that double."""

    def __init__(self) -> None:
        self._short_lives = 0

    def pause_after(self, served_s: float) -> float:
        """Seconds to wait after a process that served for so long has died."""
        if served_s >= HEALTHY_S:
            self._short_lives = 0
        self._short_lives += 1
        if self._short_lives <= AT_ONCE:
            return 0
        doublings = min(self._short_lives - AT_ONCE - 1, 10)
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**doublings)
