"""How fast a queue moves, for those who are refused: when to come back. No torch here."""

from __future__ import annotations

import math
import time
from collections import deque

REMEMBERED = 32
"""Endings that the pace is reckoned from."""
UNKNOWN_S = 5
LONGEST_S = 60


class Pace:
    def __init__(self) -> None:
        self._endings: deque[float] = deque(maxlen=REMEMBERED)

    def ended(self) -> None:
        """A request has left, and made room."""
        self._endings.append(time.monotonic())

    def seconds_for(self, requests: int) -> int:
        """In which so many will have left, at the pace of the last ones; from 1 to LONGEST_S."""
        if not self._endings:
            return UNKNOWN_S
        each = (time.monotonic() - self._endings[0]) / len(self._endings)
        return min(LONGEST_S, max(1, math.ceil(each * requests)))
