"""When frames go out: one beat for all answers that are being read, instead of a timer and a task
for each of their readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.025

Tell = Callable[[], bool]
"""Gives readers what is due. True: somebody could not take it yet."""


class Pulse:
    """What has changed is told at the next beat: at once where the last one is an interval ago,
    else when it is."""

    def __init__(self) -> None:
        self._due: set[Tell] = set()
        self._is_set = False
        self._last = 0.0

    def soon(self, tell: Tell) -> None:
        """Have it called at the next beat. However often it is asked for, that is once."""
        self._due.add(tell)
        if not self._is_set:
            self._is_set = True
            asyncio.get_running_loop().call_at(self._last + INTERVAL_S, self._beat)

    def now(self, tell: Tell) -> None:
        """Do not wait for the beat: the first word of an answer, or a reader who has just come."""
        if tell():
            self.soon(tell)

    def _beat(self) -> None:
        due, self._due = self._due, set()
        self._last, self._is_set = asyncio.get_running_loop().time(), False
        for tell in due:
            if tell():
                self.soon(tell)
