"""Chance that is the same on every machine and in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


class Draws:
    """A stream of draws that depends on its name alone."""

    def __init__(self, *name: object) -> None:
        digest = hashlib.sha256("\0".join(map(str, name)).encode()).digest()
        self._random = Random(int.from_bytes(digest[:8])).random
        self._told: set[tuple[int, int]] = set()

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def below(self, count: int) -> int:
        return int(self._random() * count)

    def pick(self, items: Sequence[_T]) -> _T:
        return items[int(self._random() * len(items))]

    def fresh(self, items: Sequence[_T]) -> _T:
        """One of `items`, which must live on, that was not picked before where there is one."""
        index = 0
        for _ in range(4):
            index = int(self._random() * len(items))
            if (id(items), index) not in self._told:
                break
        self._told.add((id(items), index))
        return items[index]

    def shuffled(self, items: Sequence[_T]) -> list[_T]:
        rest, order = list(items), []
        while rest:
            order.append(rest.pop(int(self._random() * len(rest))))
        return order
