"""When to come back to a full queue: reckoned from how fast it moves."""

from __future__ import annotations

import pytest

from inference import pace
from inference.errors import EngineCrashed, QueueFull
from inference.kv_cache import KVCache
from inference.pace import LONGEST_S, REMEMBERED, UNKNOWN_S, Pace
from inference.scheduler import Scheduler
from inference.sequence import Sequence
from inference.types import GenerateRequest


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    its = Clock()
    monkeypatch.setattr(pace, "time", its)
    return its


def test_the_pace_is_that_of_the_last_endings(clock: Clock) -> None:
    its = Pace()
    assert its.seconds_for(10) == UNKNOWN_S
    for _ in range(2 * REMEMBERED):
        its.ended()
        clock.now += 0.5
    assert its.seconds_for(10) == 5
    assert its.seconds_for(1) == its.seconds_for(0) == 1
    assert its.seconds_for(1000) == LONGEST_S
    clock.now += 0.5 * REMEMBERED  # nobody has left since
    assert its.seconds_for(10) == 10


def test_a_full_queue_says_when_half_of_it_will_be_gone(clock: Clock) -> None:
    its = Scheduler(KVCache(8), seats=1, step_tokens=8, queue_limit=4)

    def sequence(number: int) -> Sequence:
        return Sequence(GenerateRequest(f"{number}", "m", (1, 2)), 4, number, 0)

    waiting = [sequence(number) for number in range(4)]
    for each in waiting:
        its.add(each)
    for each in waiting[:2]:
        its.remove(each)
        clock.now += 3
    for number in (4, 5):
        its.add(sequence(number))
    with pytest.raises(QueueFull) as full:
        its.add(sequence(6))
    assert full.value.retry_after_s == 6


def test_a_crash_says_when_another_engine_is_likely_to_serve() -> None:
    assert EngineCrashed("it fell", 17).retry_after_s == 17
    assert EngineCrashed("it fell").retry_after_s == 5
