"""Which models stay in memory: the policy alone, by cases and by simulated days."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.residency import Resident, next_end, overdue, room_for


def resident(name: str, size: int, last_used: float, *, is_idle: bool = True) -> Resident:
    return Resident(Path(name), size, is_idle, last_used)


def names(chosen: list[Path] | None) -> str | None:
    return None if chosen is None else "".join(sorted(map(str, chosen)))


OLD, NEW = resident("a", 4, 1.0), resident("b", 3, 2.0)
BUSY = resident("c", 2, 0.0, is_idle=False)


@pytest.mark.parametrize(
    ("residents", "size", "budget", "expected"),
    [
        ([], 10, 10, ""),
        ([OLD, NEW], 3, 10, ""),
        ([OLD, NEW], 4, 10, "a"),
        ([NEW, OLD], 7, 10, "a"),
        ([OLD, NEW], 8, 10, "ab"),
        ([OLD, NEW, BUSY], 2, 10, "a"),
        ([OLD, NEW, BUSY], 8, 10, "ab"),
        ([OLD, NEW, BUSY], 9, 10, None),
        ([BUSY], 9, 10, None),
        # the smaller one went first, and need not have
        ([resident("a", 1, 1.0), resident("b", 9, 2.0)], 5, 10, "b"),
        # a budget that has become smaller
        ([OLD, NEW], 1, 5, "a"),
    ],
)
def test_room_is_made_by_those_who_were_used_longest_ago(
    residents: list[Resident], size: int, budget: int, expected: str | None
) -> None:
    assert names(room_for(size, residents, budget)) == expected


def test_who_was_not_wanted_for_long_goes() -> None:
    residents = [OLD, NEW, BUSY]
    assert names(overdue(residents, 10, now=10.9)) == ""
    assert names(overdue(residents, 10, now=11.0)) == "a"
    assert names(overdue(residents, 10, now=99.0)) == "ab"
    assert next_end(residents, 10) == 11.0
    assert next_end([BUSY], 10) is None


def test_nobody_goes_where_models_are_kept_for_ever() -> None:
    assert overdue([OLD, NEW], 0, now=1e9) == []
    assert next_end([OLD, NEW], 0) is None


SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10), min_size=1)
# who is asked for, how long the answer takes, and how much later the next one asks
REQUESTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9), st.integers(0, 9)))


@given(SIZES, REQUESTS, st.integers(10, 25), st.sampled_from([0, 1, 5, 100]))
def test_a_day_of_requests(
    sizes: dict[str, int], requests: list[tuple[str, int, int]], budget: int, keep_alive: float
) -> None:
    """The budget is kept, nobody is unloaded while busy, and everybody gets an answer."""
    held: dict[str, float] = {}  # last use
    busy: dict[str, float] = {}  # until when

    def state(now: float) -> list[Resident]:
        for name in held:
            held[name] = max(held[name], min(now, busy.get(name, 0.0)))
        return [
            resident(name, sizes[name], held[name], is_idle=busy.get(name, 0.0) <= now)
            for name in held
        ]

    now, answered = 0.0, 0
    asked = [request for request in requests if request[0] in sizes]
    for name, duration, pause in asked:
        while name not in held:
            for gone in overdue(state(now), keep_alive, now):
                assert busy.get(str(gone), 0.0) <= now
                del held[str(gone)]
            before = state(now)
            going = room_for(sizes[name], before, budget)
            if going is None:
                assert any(not each.is_idle for each in before), "it waits for nobody"
                now += 1
                continue
            check_choice(before, going, sizes[name], budget)
            for gone in going:
                del held[str(gone)]
            held[name] = now
        assert sum(sizes[each] for each in held) <= budget
        busy[name] = max(busy.get(name, 0.0), now + duration)
        answered += 1
        now += pause
    assert answered == len(asked)


def check_choice(before: list[Resident], going: list[Path], size: int, budget: int) -> None:
    """Idle, enough, not one too many, and none that stays was used longer ago without need."""
    chosen = [each for each in before if each.directory in going]
    assert all(each.is_idle for each in chosen)
    free = budget - sum(each.size for each in before)
    assert free + sum(each.size for each in chosen) >= size
    assert all(free + sum(c.size for c in chosen) - each.size < size for each in chosen)
    for stays in (each for each in before if each.is_idle and each not in chosen):
        older = [each for each in chosen if each.last_used <= stays.last_used]
        is_oldest_first = older == chosen
        assert is_oldest_first or free + sum(each.size for each in older) < size
