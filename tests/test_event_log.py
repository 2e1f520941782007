"""How often the log of events is written, which is what a kill can lose."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from chat import event_log
from chat.event_log import PAUSE_S, SHORTEST_PAUSE_S, EventLog


def test_a_pause_is_shorter_the_longer_writing_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    log, now, pauses = EventLog(), [0.0], list[float]()
    takes = [0.0, 0.02, 0.05, 0.1, 9.0, 0.0]

    def wait_for(predicate: Callable[[], bool], timeout: float) -> bool:
        """Nobody waits, and how long they would have is kept."""
        if predicate == log._is_urgent:
            pauses.append(timeout)
        return True

    def write(*_: Any) -> None:
        now[0] += takes[len(pauses) - 1]
        log._stopping = len(pauses) == len(takes) - 1  # one more, and it is over

    monkeypatch.setattr(event_log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(log._wake, "wait_for", wait_for)
    monkeypatch.setattr(log, "_write", write)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(log._run).result()
    assert pauses == pytest.approx([PAUSE_S, PAUSE_S, 0.06, *[SHORTEST_PAUSE_S] * 3])
