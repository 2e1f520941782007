"""Which sequences run in the next step, and with how many tokens. This is the whole policy.

- Whoever answers gets one token in every step; what is left of its budget goes to prompts, in the
  order of admission. Beside an answer that is a quarter of what it is otherwise: a step must be
  short, so that a long prompt never stalls the others' streams.
- A sequence is admitted when there is a seat, and room for what it has to read and for everyone to
  go on a little. First by priority; then by turns of the tenants, so that one with a hundred
  requests does not keep the others waiting; then by arrival. Nobody overtakes who waits for room.
- Room for an answer is given as it grows. When there is none left, whoever stands last gives back
  what it holds and waits: its text is known, and is read again later. The first always goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import QueueFull
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.pace import Pace
from inference.sequence import Sequence

# Tokens of room that an answer is given ahead, where there is enough.
_AHEAD = 4 * BLOCK_SIZE
# Beside answers, prompts get this share of a step, but as many tokens as are cheap to read at once.
_BESIDE, _LEAST_BESIDE = 4, 64


@dataclass(frozen=True, slots=True)
class Chunk:
    """`length` tokens of a sequence, from its first pending one on, and a draft of what may come
    after its last one."""

    sequence: Sequence
    length: int
    draft: tuple[int, ...] = ()

    @property
    def completes(self) -> bool:
        """Whether the sequence's last known token is in it, so that the next one is sampled."""
        return self.length == self.sequence.pending

    @property
    def size(self) -> int:
        return self.length + len(self.draft)

    @property
    def rows(self) -> int:
        """How many of its tokens have logits: the last one that is known, and guesses."""
        return 1 + len(self.draft) if self.completes else 0

    @property
    def tokens(self) -> list[int]:
        first = self.sequence.computed
        return [*self.sequence.tokens[first : first + self.length], *self.draft]


class Scheduler:
    def __init__(self, cache: KVCache, *, seats: int, step_tokens: int, queue_limit: int) -> None:
        """seats: sequences that run at once. step_tokens: the most tokens of one step, more than
        seats. queue_limit: the most that may wait."""
        self._cache, self._seats = cache, seats
        self._step_tokens, self._queue_limit = step_tokens, queue_limit
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._decodes: dict[Sequence, Chunk] = {}  # of each that runs, made once
        # start-time fair queueing (Goyal et al., 1996): a tenant's requests have turns one after
        # the other, and a tenant that was away has its next one now
        self._turns: dict[Sequence, int] = {}
        self._last_turns: dict[str, int] = {}
        self._now = 0
        self._pace = Pace()
        self.put_aside: list[Sequence] = []
        """Who had to give back what it held, in the last plan."""
        self.preemptions = 0
        """How often anybody had to."""

    @property
    def in_prefill(self) -> bool:
        """Whether a prompt is still being read, or waits to be."""
        return bool(self.waiting) or any(sequence.in_prefill for sequence in self.running)

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def running(self) -> tuple[Sequence, ...]:
        return tuple(self._running)

    @property
    def waiting(self) -> tuple[Sequence, ...]:
        """In the order in which they will be admitted."""
        return tuple(sorted(self._waiting, key=self._turn))

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence into the queue. Raises QueueFull."""
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull(
                f"{len(self._waiting)} requests are waiting already. Try again in a moment.",
                waiting=len(self._waiting),
                limit=self._queue_limit,
                # by then half of the queue is new: whoever comes back spreads over that time
                retry_after_s=self._pace.seconds_for(len(self._waiting) // 2),
            )
        tenant = sequence.request.tenant
        turn = max(self._now, self._last_turns.get(tenant, self._now - 1) + 1)
        self._turns[sequence] = self._last_turns[tenant] = turn
        self._waiting.append(sequence)

    def plan(self) -> tuple[Chunk, ...]:
        """The chunks of the next step, decodes first; empty when there is nothing to do."""
        self.put_aside = []
        for sequence in sorted(self._lacking_room(), key=_rank):
            if sequence not in self.put_aside:
                self._make_room(sequence)
        self._admit()
        running, chunk_of = self._running, self._decodes
        # written out, here and for room: at each step, once for each of hundreds
        decodes = [
            chunk_of[s]
            for s in running
            if s.computed >= s.to_read and len(s.tokens) + s.promised < s.limit
        ]
        budget = self._step_tokens - len(decodes)
        if decodes:
            budget = min(budget, max(self._step_tokens // _BESIDE, _LEAST_BESIDE))
        prefills = []
        for sequence in running if len(decodes) < len(running) else ():
            if sequence.in_prefill and budget > 0 and not sequence.loading:
                prefills.append(Chunk(sequence, min(sequence.pending, budget)))
                budget -= prefills[-1].length
        return (*decodes, *prefills)

    def remove(self, sequence: Sequence, *, spoilt: bool = False) -> None:
        """Take a sequence out, finished or cancelled, and free its blocks. spoilt: what it computed
        is of no use to others."""
        (self._running if sequence in self._decodes else self._waiting).remove(sequence)
        self._decodes.pop(sequence, None)
        del self._turns[sequence]
        self._pace.ended()
        self._cache.release(sequence, spoilt=spoilt)

    def _lacking_room(self) -> list[Sequence]:
        """Who has no place for its next token, or for what it may guess."""
        return [
            s
            for s in self._running
            if (room := len(s.blocks) * BLOCK_SIZE) < s.limit
            and room <= (known := len(s.tokens) + s.promised) + s.guesses
            and known < s.limit
        ]

    def _make_room(self, sequence: Sequence) -> None:
        """For its next token, from those who stand behind it, or it steps aside itself."""
        needed = _needed(sequence)
        if self._cache.grow(sequence, min(sequence.limit, needed + _AHEAD)):
            return
        while not self._cache.grow(sequence, needed):
            last = max(self._running, key=_rank)
            self._put_aside(last)
            if last is sequence:
                return

    def _put_aside(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        del self._decodes[sequence]
        self._cache.release(sequence)
        sequence.start_again()
        self._waiting.append(sequence)
        self.put_aside.append(sequence)
        self.preemptions += 1

    def _admit(self) -> None:
        if self.put_aside:
            return
        for sequence in self.waiting:
            if len(self._running) >= self._seats:
                return
            if not self._cache.admit(sequence, _needed(sequence), spare=len(self._running)):
                return
            self._waiting.remove(sequence)
            self._running.append(sequence)
            self._decodes[sequence] = Chunk(sequence, 1)
            self._now = max(self._now, self._turns[sequence])
            self._last_turns = {t: n for t, n in self._last_turns.items() if n >= self._now}

    def _turn(self, sequence: Sequence) -> tuple[int, int, int]:
        return sequence.request.priority, self._turns[sequence], sequence.arrival


def _rank(sequence: Sequence) -> tuple[int, int]:
    """Who stands before whom."""
    return sequence.request.priority, sequence.arrival


def _needed(sequence: Sequence) -> int:
    """Tokens that there must be room for before the next step: all that are known, and the one
    that it samples, whose place a device looks up with it."""
    return min(sequence.limit, sequence.known + 1)
