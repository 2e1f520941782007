"""The policy, by simulation: who is admitted, what a step computes, that everyone gets through."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings as site
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import QueueFull
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.pace import UNKNOWN_S
from inference.scheduler import Chunk, Scheduler
from inference.sequence import Sequence
from tests.scheduler_traffic import Arrival, Machine, Traffic, sequence

machines = st.builds(
    lambda seats, more, blocks, queue: Machine(seats, seats + more, blocks, queue),
    seats=st.integers(1, 6),
    more=st.integers(1, 40),
    blocks=st.integers(6, 24),
    queue=st.integers(1, 12),
)
arrivals = st.builds(
    Arrival,
    step=st.integers(0, 30),
    # prompt and output fit the smallest machine, as Engine.add makes sure
    prompt=st.integers(1, 5 * BLOCK_SIZE),
    output=st.integers(1, BLOCK_SIZE),
    priority=st.integers(0, 2),
    tenant=st.sampled_from("ab"),
    text=st.sampled_from([None, 1, 2]),
    cancel=st.one_of(st.integers(0, 10), st.just(10**9)),
)


@settings(max_examples=200, deadline=None)
@given(machine=machines, traffic=st.lists(arrivals, max_size=25))
def test_the_policy_keeps_its_promises(machine: Machine, traffic: list[Arrival]) -> None:
    Traffic(machine).run(traffic)


class DelaysDecodes(Scheduler):
    def plan(self) -> tuple[Chunk, ...]:
        chunks = super().plan()
        prefills = tuple(chunk for chunk in chunks if chunk.length > 1)
        return prefills or chunks


class OverspendsBudget(Scheduler):
    def plan(self) -> tuple[Chunk, ...]:
        return tuple(Chunk(chunk.sequence, chunk.sequence.pending) for chunk in super().plan())


class AdmitsWithoutSeats(Scheduler):
    def plan(self) -> tuple[Chunk, ...]:
        self._seats = 100
        return super().plan()


class ForgetsToFree(Scheduler):
    def remove(self, sequence: Sequence, *, spoilt: bool = False) -> None:
        self._running = [s for s in self._running if s is not sequence]


class LastComeFirstServed(Scheduler):
    @property
    def waiting(self) -> tuple[Sequence, ...]:
        return super().waiting[::-1]


class AdmitsOneAtATime(Scheduler):
    def _admit(self) -> None:
        if not self._running:
            super()._admit()


class PutsTheFirstAside(Scheduler):
    def _put_aside(self, _last: Sequence) -> None:
        super()._put_aside(min(self._running, key=lambda s: s.arrival))


BUSY = [Arrival(step=i // 4, prompt=2 + 23 * i % 70, output=1 + 5 * i % 16) for i in range(16)]


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (DelaysDecodes, "a decode was delayed"),
        (OverspendsBudget, "over its budget"),
        (AdmitsWithoutSeats, "more run than there are seats"),
        (ForgetsToFree, "waits for ever|lost|held|put aside"),
        (LastComeFirstServed, "out of order|overtaken"),
        (AdmitsOneAtATime, "beside an empty seat"),
    ],
)
def test_the_simulation_sees_a_broken_policy(broken: type[Scheduler], promise: str) -> None:
    machine = Machine(seats=3, step_tokens=20, blocks=24)
    Traffic(machine).run(BUSY)
    with pytest.raises(AssertionError, match=promise):
        Traffic(machine, broken).run(BUSY)


CROWDED = Machine(seats=4, step_tokens=40, blocks=12)
LONG = [Arrival(i, prompt=10 + 7 * i % 30, output=60) for i in range(10)]


def test_where_room_runs_out_the_last_waits_and_all_get_through() -> None:
    traffic = Traffic(CROWDED)
    traffic.run(LONG)
    assert traffic.put_aside > 3
    assert len(traffic.finished) == len(LONG)


def test_the_simulation_sees_the_first_put_aside() -> None:
    with pytest.raises(AssertionError, match="the first was put aside"):
        Traffic(CROWDED, PutsTheFirstAside).run(LONG)


def test_an_answer_that_was_put_aside_is_read_again_whole_and_goes_on() -> None:
    traffic = Traffic(Machine(seats=2, step_tokens=40, blocks=5))
    traffic.run([Arrival(0, 20, 40), Arrival(0, 20, 40)])
    assert traffic.put_aside >= 1
    assert [s.arrival for s in traffic.finished] == [0, 1]
    assert all(s.output_length == 40 for s in traffic.finished)


def test_tenants_take_turns() -> None:
    """One who comes with ten requests does not keep waiting one who comes with two."""
    traffic = Traffic(Machine(seats=1, step_tokens=100, blocks=50))
    many = [Arrival(0, 5, 2, tenant="many") for _ in range(5)]
    traffic.run([*many, *(Arrival(1, 5, 2, tenant="few") for _ in range(2))])
    order = [s.request.tenant for s in traffic.finished]
    assert order == ["many", "few", "many", "few", "many", "many", "many"]


def test_who_matters_more_goes_before_any_turn() -> None:
    traffic = Traffic(Machine(seats=1, step_tokens=100, blocks=50))
    traffic.run(
        [
            Arrival(0, 5, 9),
            *(Arrival(1, 5, 2, priority=p, tenant=t) for p, t in ((1, "a"), (0, "b"), (0, "b"))),
        ]
    )
    assert [s.request.priority for s in traffic.finished] == [0, 0, 0, 1]


def test_a_long_prompt_is_computed_beside_decodes_in_pieces_of_what_is_left() -> None:
    traffic = Traffic(Machine(seats=4, step_tokens=16, blocks=50))
    traffic.run([Arrival(0, prompt=3, output=10), Arrival(1, prompt=40, output=1)])
    lengths = [[chunk.length for chunk in chunks] for chunks in traffic.steps[:4]]
    assert lengths == [[3], [1, 15], [1, 15], [1, 10]]


def test_beside_an_answer_a_long_prompt_is_read_in_shorter_pieces() -> None:
    traffic = Traffic(Machine(seats=4, step_tokens=400, blocks=100))
    traffic.run([Arrival(0, prompt=3, output=4), Arrival(1, prompt=600, output=1)])
    lengths = [[chunk.length for chunk in chunks] for chunks in traffic.steps]
    assert lengths == [[3], [1, 100], [1, 100], [1, 100], [300]]


def test_prompts_share_a_step_in_the_order_of_admission() -> None:
    traffic = Traffic(Machine(seats=4, step_tokens=10, blocks=50))
    traffic.run([Arrival(0, prompt=n, output=1) for n in (4, 4, 4)])
    lengths = [[chunk.length for chunk in chunks] for chunks in traffic.steps]
    assert lengths == [[4, 4, 2], [2]]


def test_a_lower_number_goes_first_and_equals_by_arrival() -> None:
    traffic = Traffic(Machine(seats=1, step_tokens=100, blocks=50))
    order = [Arrival(0, 5, 2, priority=p) for p in (1, 0, 1, 0)]
    traffic.run(order)
    assert [s.arrival for s in traffic.finished] == [1, 3, 0, 2]


def test_nobody_small_overtakes_a_large_one_that_waits_for_blocks() -> None:
    traffic = Traffic(Machine(seats=4, step_tokens=200, blocks=4))
    large, small = 3 * BLOCK_SIZE, BLOCK_SIZE
    traffic.run([Arrival(0, large - 5, 5), Arrival(0, large - 5, 5), Arrival(0, small - 5, 5)])
    assert [s.arrival for s in traffic.finished] == [0, 1, 2]


def test_a_full_queue_refuses_with_both_numbers() -> None:
    scheduler = Scheduler(KVCache(4), seats=1, step_tokens=8, queue_limit=2)
    for i in range(2):
        scheduler.add(sequence(i, prompt=1, output=1))
    with pytest.raises(QueueFull) as refused:
        scheduler.add(sequence(2, prompt=1, output=1))
    assert refused.value.fields == {"waiting": 2, "limit": 2, "retry_after_s": UNKNOWN_S}
    assert len(scheduler.waiting) == 2


def test_an_idle_scheduler_plans_nothing() -> None:
    scheduler = Scheduler(KVCache(4), seats=1, step_tokens=8, queue_limit=2)
    assert scheduler.is_idle
    assert scheduler.plan() == ()


def test_a_sequence_counts_its_own_lengths() -> None:
    its = sequence(0, prompt=3, output=2)
    assert (its.prompt_length, its.output_length, its.pending, its.in_prefill) == (3, 0, 3, True)
    its.computed, its.tokens = 3, [*its.tokens, 9]
    assert (its.output_ids, its.output_length, its.pending, its.in_prefill) == ([9], 1, 1, False)
    assert not its.is_full
    its.tokens.append(9)
    assert its.is_full


def test_the_policy_runs_without_torch() -> None:
    code = (
        "import sys\n"
        "from tests.scheduler_traffic import Arrival, Machine, Traffic\n"
        "traffic = Traffic(Machine(seats=2, step_tokens=8, blocks=8))\n"
        "traffic.run([Arrival(i, prompt=20, output=3) for i in range(5)])\n"
        "print(len(traffic.finished), sorted({'torch', 'numpy', 'numba'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=site.BASE_DIR, capture_output=True, text=True, check=True
    )
    assert run.stdout == "5 []\n"
