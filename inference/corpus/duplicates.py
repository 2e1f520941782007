"""Near duplicates by MinHash, of our own: sixty lines do what is needed, and a bare training
machine has no library for it."""

from __future__ import annotations

import hashlib

from inference.corpus.draws import Draws
from inference.corpus.quality import ngrams, units

_PRIME = (1 << 61) - 1
_BANDS, _ROWS = 16, 4
_SHINGLE = 5
_draws = Draws("minhash")
_HASHES = [(1 + _draws.below(_PRIME - 1), _draws.below(_PRIME)) for _ in range(_BANDS * _ROWS)]
# Of the shingles of two stories that are alike.
ALIKE = 0.5


def signature(text: str) -> tuple[int, ...]:
    """64 minima; the share of equal ones estimates the share of common shingles of two texts."""
    codes = {
        int.from_bytes(hashlib.blake2b(" ".join(gram).encode(), digest_size=7).digest())
        for gram in ngrams(units(text), _SHINGLE)
    } or {0}
    return tuple(min((a * code + b) % _PRIME for code in codes) for a, b in _HASHES)


def likeness(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


class Seen:
    """Stories so far. Two stories of which half the shingles are common share one of 16 bands with
    a probability of 0.64, and at 0.8 of 0.9998: what is found is compared in full."""

    def __init__(self) -> None:
        self._bands: list[dict[tuple[int, ...], tuple[int, ...]]] = [{} for _ in range(_BANDS)]

    def is_new(self, text: str) -> bool:
        """Whether no story like it was seen. Remembers it."""
        mine = signature(text)
        keys = [mine[band * _ROWS : (band + 1) * _ROWS] for band in range(_BANDS)]
        for band, key in zip(self._bands, keys, strict=True):
            other = band.get(key)
            if other is not None and likeness(mine, other) >= ALIKE:
                return False
        for band, key in zip(self._bands, keys, strict=True):
            band.setdefault(key, mine)
        return True
