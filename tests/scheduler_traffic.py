"""Made-up traffic through the scheduler: requests come, are computed as planned, go. No torch.

`run` checks the promises of the policy at every step, with an AssertionError that says which one
was broken.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import QueueFull
from inference.kv_cache import KVCache
from inference.scheduler import Chunk, Scheduler
from inference.sequence import Sequence
from inference.types import GenerateRequest

NO_CANCEL = 10**9


@dataclass(frozen=True)
class Arrival:
    """A request that comes at `step`, and is cancelled after `cancel` steps (if still there)."""

    step: int
    prompt: int
    output: int
    priority: int = 0
    cancel: int = NO_CANCEL
    tenant: str = "local"
    text: int | None = None  # prompts of one text begin alike; None: of its own


@dataclass(frozen=True)
class Machine:
    seats: int
    step_tokens: int
    blocks: int
    queue_limit: int = 1000


def sequence(
    arrival: int,
    *,
    prompt: int,
    output: int,
    priority: int = 0,
    tenant: str = "local",
    text: int | None = None,
) -> Sequence:
    word = 1000 + arrival if text is None else text
    request = GenerateRequest(
        str(arrival), "tiny", (word,) * prompt, priority=priority, tenant=tenant
    )
    return Sequence(request, limit=prompt + output, arrival=arrival, seed=0)


class Traffic:
    """Plays arrivals against a scheduler. finished: in the order in which they did."""

    def __init__(self, machine: Machine, scheduler: type[Scheduler] = Scheduler) -> None:
        self.machine = machine
        self.cache = KVCache(machine.blocks)
        self.scheduler = scheduler(
            self.cache,
            seats=machine.seats,
            step_tokens=machine.step_tokens,
            queue_limit=machine.queue_limit,
        )
        self.step_number = 0
        self.steps: list[tuple[Chunk, ...]] = []
        self.finished: list[Sequence] = []
        self.refused: list[Sequence] = []
        self.cancelled: list[Sequence] = []
        self.put_aside = 0

    def run(self, arrivals: list[Arrival]) -> None:
        coming = [
            (
                arrival,
                sequence(
                    i,
                    prompt=arrival.prompt,
                    output=arrival.output,
                    priority=arrival.priority,
                    tenant=arrival.tenant,
                    text=arrival.text,
                ),
            )
            for i, arrival in enumerate(sorted(arrivals, key=lambda arrival: arrival.step))
        ]
        last = max((arrival.step for arrival in arrivals), default=0)
        # one token a step is the least that a machine with work may do, and whoever was put aside
        # reads again, at most once for each block of somebody before it
        tokens = sum(arrival.prompt + arrival.output for arrival in arrivals)
        patience = last + tokens * (1 + len(arrivals)) + 1
        while self.step_number <= last or not self.scheduler.is_idle:
            assert self.step_number < patience, "somebody waits for ever"
            for arrival, its in coming:
                if arrival.step == self.step_number:
                    self._add(its)
                if arrival.step + arrival.cancel == self.step_number:
                    self._cancel(its)
            self.step()
            self.step_number += 1
        assert len(self.finished + self.refused + self.cancelled) == len(arrivals)
        assert self.cache.free_blocks == self.machine.blocks, "blocks are held by nobody"

    def step(self) -> None:
        """Plan, check, compute."""
        before = self.scheduler.running
        decoding = [s for s in before if not s.in_prefill]
        chunks = self.scheduler.plan()
        aside = self.scheduler.put_aside
        self._check_put_aside(before)
        before = tuple(s for s in before if s not in aside)
        decoding = [s for s in decoding if s not in aside]
        self.put_aside += len(aside)
        self._check_admission(before)
        self._check_chunks(chunks, decoding)
        self.steps.append(chunks)
        for chunk in chunks:
            its = chunk.sequence
            completes = chunk.completes
            its.computed += chunk.length
            if completes:
                its.tokens.append(0)
            self.cache.publish(its)
            if completes and its.is_full:
                self.scheduler.remove(its)
                self.finished.append(its)
        self.cache.check_integrity()

    def _add(self, its: Sequence) -> None:
        waiting = len(self.scheduler.waiting)
        try:
            self.scheduler.add(its)
        except QueueFull:
            assert waiting >= self.machine.queue_limit, "refused although there was room"
            self.refused.append(its)
        else:
            assert waiting < self.machine.queue_limit, "the queue is longer than its limit"

    def _cancel(self, its: Sequence) -> None:
        if its in self.scheduler.running + self.scheduler.waiting:
            self.scheduler.remove(its)
            self.cancelled.append(its)
            assert not its.blocks, "a cancelled request keeps its blocks"

    def _check_admission(self, before: tuple[Sequence, ...]) -> None:
        running, waiting = self.scheduler.running, self.scheduler.waiting
        assert len(running) <= self.machine.seats, "more run than there are seats"
        assert running[: len(before)] == before, "somebody who ran has gone"
        urgency = [s.request.priority for s in (*running[len(before) :], *waiting)]
        assert urgency == sorted(urgency), "somebody was overtaken by who matters less"
        for tenant in {s.request.tenant for s in waiting}:
            of_one = (s for s in (*running[len(before) :], *waiting) if s.request.tenant == tenant)
            ranks = [(s.request.priority, s.arrival) for s in of_one]
            assert ranks == sorted(ranks), "somebody was overtaken by who came later"
        if waiting and len(running) < self.machine.seats and not self.scheduler.put_aside:
            first, wanted = waiting[0], min(waiting[0].limit, len(waiting[0].tokens) + 1)
            admitted = self.cache.can_admit(first, wanted, len(running))
            assert not admitted, "somebody waits beside an empty seat"

    def _check_put_aside(self, before: tuple[Sequence, ...]) -> None:
        aside = self.scheduler.put_aside
        ranks = sorted(before, key=lambda s: (s.request.priority, s.arrival))
        assert not aside or ranks[0] not in aside, "the first was put aside"
        assert set(aside) == set(ranks[len(ranks) - len(aside) :]), "not the last was put aside"
        assert all(not s.blocks and not s.computed for s in aside), "put aside with its blocks"

    def _check_chunks(self, chunks: tuple[Chunk, ...], decoding: list[Sequence]) -> None:
        computed = {id(chunk.sequence): chunk.length for chunk in chunks}
        assert len(computed) == len(chunks), "a sequence is computed twice in a step"
        assert all(id(s) in computed for s in decoding), "a decode was delayed"
        total, running = sum(computed.values()), self.scheduler.running
        wanted = sum(s.pending for s in running)
        budget = self.machine.step_tokens
        if decoding:
            budget = min(budget, len(decoding) + max(budget // 4, 64))
        assert total <= budget, "a step is over its budget"
        assert total == min(wanted, budget), "a step wastes its budget"
        for chunk in chunks:
            assert chunk.sequence in running, "somebody runs without a seat"
            assert 1 <= chunk.length <= chunk.sequence.pending, "tokens that are not there"
            room = len(chunk.sequence.blocks)
            needed = self.cache.blocks_for(chunk.sequence.computed + chunk.length)
            assert needed <= room, "tokens have no block to go to"
