"""Which sequences run in the next step, and with how many tokens. This is the whole policy.

A sequence is admitted in order of priority, then arrival, when there is a seat and the cache can
hold all it may ever need: once running, it always finishes. A step takes one token of each
sequence in decode, then fills its budget with pieces of prompts, so that a long prompt never
stalls the others' streams.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import QueueFull
from inference.kv_cache import KVCache
from inference.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """`length` tokens of a sequence, from its first pending one on."""

    sequence: Sequence
    length: int

    @property
    def completes(self) -> bool:
        """Whether the sequence's last known token is in it, so that the next one is sampled."""
        return self.length == self.sequence.pending


class Scheduler:
    def __init__(self, cache: KVCache, *, seats: int, step_tokens: int, queue_limit: int) -> None:
        """seats: sequences that run at once. step_tokens: the most tokens of one step, more than
        seats. queue_limit: the most that may wait."""
        self._cache, self._seats = cache, seats
        self._step_tokens, self._queue_limit = step_tokens, queue_limit
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def running(self) -> tuple[Sequence, ...]:
        return tuple(self._running)

    @property
    def waiting(self) -> tuple[Sequence, ...]:
        """In the order in which they will be admitted."""
        return tuple(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence into the queue. Raises QueueFull."""
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull(
                f"{len(self._waiting)} requests are waiting already. Try again in a moment.",
                waiting=len(self._waiting),
                limit=self._queue_limit,
            )
        self._waiting.append(sequence)
        self._waiting.sort(key=lambda s: (s.request.priority, s.arrival))

    def plan(self) -> tuple[Chunk, ...]:
        """The chunks of the next step, decodes first; empty when there is nothing to do."""
        self._admit()
        decodes = [Chunk(s, 1) for s in self._running if s.pending == 1 and not s.is_full]
        budget = self._step_tokens - len(decodes)
        prefills = []
        for sequence in self._running:
            if sequence.pending > 1 and budget > 0:
                prefills.append(Chunk(sequence, min(sequence.pending, budget)))
                budget -= prefills[-1].length
        return (*decodes, *prefills)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, finished or cancelled, and free its blocks."""
        (self._waiting if sequence in self._waiting else self._running).remove(sequence)
        self._cache.release(sequence)

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._seats:
            first = self._waiting[0]
            if not self._cache.can_hold(first.limit):
                return
            self._cache.reserve(first, first.limit)
            self._running.append(self._waiting.pop(0))
