"""The place of one answer in its grammar, and which tokens may come next."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.errors import RequestFailed

if TYPE_CHECKING:
    from llguidance import LLMatcher

Mask = np.ndarray[Any, np.dtype[np.int32]]
"""int32[ceil(V / 32)]: a bit for each token, the lowest first; 1: it may come next."""


class Matcher:
    """Moves on with each token of the answer. The mask of the next one is computed on a thread, so
    that it is there when the device has computed the logits."""

    def __init__(self, place: LLMatcher, first: Mask, pool: Executor, vocabulary: int) -> None:
        self._place, self._pool, self._vocabulary = place, pool, vocabulary
        self._next: Future[Mask | None] = Future()
        self._next.set_result(first)
        self.is_over = False
        """Nothing may follow any more."""
        self.failure = ""
        """Why it cannot go on, where it has run into a limit."""

    def mask(self) -> Mask:
        """Of the next token, waited for; empty after a failure."""
        mask = self._next.result()
        if mask is None:
            self.failure = f"The grammar became too complex: {self._reason()}"
            return np.zeros(-(-self._vocabulary // 32), np.int32)
        return mask

    def take(self, token: int) -> None:
        """The next token of the answer. Raises RequestFailed where the mask did not allow it."""
        if not self.follow([token]):
            raise RequestFailed(f"The grammar does not take token {token}: {self._reason()}")

    def follow(self, tokens: Sequence[int]) -> bool:
        """Tokens that are written already. False: they are not of the grammar."""
        taken = bool(self._place.consume_tokens(list(tokens)))
        # from here on the place belongs to the thread, until the mask is there
        self.is_over = bool(self._place.is_stopped())
        if taken and not self.is_over:
            self._next = self._pool.submit(next_mask, self._place, self._vocabulary)
        return taken

    def _reason(self) -> str:
        return str(self._place.get_error()).partition("\n")[0]


def next_mask(place: LLMatcher, vocabulary: int) -> Mask | None:
    """None: the grammar has run into a limit, `get_error` says into which."""
    packed = place.compute_bitmask()
    if place.is_error():
        return None
    return np.frombuffer(packed, dtype=np.int32)[: -(-vocabulary // 32)]


def allowed(mask: Mask, vocabulary: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool[V]."""
    bits = np.unpackbits(mask.view(np.uint8), count=vocabulary, bitorder="little")
    return bits.view(np.bool_)
