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


@dataclass(frozen=True)
class Machine:
    seats: int
    step_tokens: int
    blocks: int
    queue_limit: int = 1000


def sequence(arrival: int, *, prompt: int, output: int, priority: int = 0) -> Sequence:
    request = GenerateRequest(str(arrival), "tiny", (7,) * prompt, priority=priority)
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

    def run(self, arrivals: list[Arrival]) -> None:
        coming = [
            (
                arrival,
                sequence(
                    i, prompt=arrival.prompt, output=arrival.output, priority=arrival.priority
                ),
            )
            for i, arrival in enumerate(sorted(arrivals, key=lambda arrival: arrival.step))
        ]
        last = max((arrival.step for arrival in arrivals), default=0)
        # one token a step is the least that a machine with work may do
        patience = last + sum(arrival.prompt + arrival.output for arrival in arrivals) + 1
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
        decoding = [s for s in before if s.pending == 1]
        chunks = self.scheduler.plan()
        self._check_admission(before)
        self._check_chunks(chunks, decoding)
        self.steps.append(chunks)
        for chunk in chunks:
            its = chunk.sequence
            completes = chunk.completes
            its.computed += chunk.length
            if completes:
                its.tokens.append(0)
                if its.is_full:
                    self.scheduler.remove(its)
                    self.finished.append(its)
        self.cache.check_integrity()

    def _add(self, its: Sequence) -> None:
        waiting = len(self.scheduler.waiting)
        try:
            self.scheduler.add(its)
        except QueueFull:
            assert waiting == self.machine.queue_limit, "refused although there was room"
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
        assert running[: len(before)] == before, "somebody who ran was put aside"
        order = [(s.request.priority, s.arrival) for s in waiting]
        assert order == sorted(order), "the queue is out of order"
        admitted = [(s.request.priority, s.arrival) for s in running[len(before) :]]
        assert [*admitted, *order] == sorted([*admitted, *order]), "somebody was overtaken"
        if waiting and len(running) < self.machine.seats:
            assert not self.cache.can_hold(waiting[0].limit), "somebody waits beside an empty seat"

    def _check_chunks(self, chunks: tuple[Chunk, ...], decoding: list[Sequence]) -> None:
        computed = {id(chunk.sequence): chunk.length for chunk in chunks}
        assert len(computed) == len(chunks), "a sequence is computed twice in a step"
        assert all(id(s) in computed for s in decoding), "a decode was delayed"
        total, running = sum(computed.values()), self.scheduler.running
        wanted = sum(s.pending for s in running)
        assert total <= self.machine.step_tokens, "a step is over its budget"
        assert total == min(wanted, self.machine.step_tokens), "a step wastes its budget"
        for chunk in chunks:
            assert chunk.sequence in running, "somebody runs without a seat"
            assert 1 <= chunk.length <= chunk.sequence.pending, "tokens that are not there"
            room = len(chunk.sequence.blocks)
            needed = self.cache.blocks_for(chunk.sequence.computed + chunk.length)
            assert needed <= room, "tokens have no block to go to"
