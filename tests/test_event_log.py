"""The log of events: how often it is written, which is what a kill can lose; and that what comes
while it is written, without a lock, is stored once and in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from chat import event_log, event_rows, services
from chat.database import in_database
from chat.delta_rows import Piece
from chat.errors import StorageFailed
from chat.event_log import PAUSE_S, SHORTEST_PAUSE_S, EventLog
from chat.identity import local_user
from chat.live import LiveTurn
from chat.models import Event, Message
from chat.pulse import Pulse
from chat.turn_records import TurnPlan
from tests.chat_client import pieces_of
from tests.fake_engine import FakeEngine, text_delta
from tests.test_chat_storage import impatient, locked
from tests.threaded_engine import until

__all__ = ["impatient"]

PLAN = TurnPlan("chat", [1, 2], {"seed": 1}, {}, "process", "request")


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


@pytest.fixture
def log(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventLog]:
    monkeypatch.setattr(event_log, "RETRY_S", 0.01)
    its = EventLog()
    yield its
    its.stop()


def _begin(count: int) -> list[Any]:
    of: dict[str, Any] = {"owner_id": local_user().id, "session_id": None, "parent_id": None}
    return [
        services.turn_start(**of, client_id=None, text="Hello", plan=PLAN) for _ in range(count)
    ]


async def begun(log: EventLog, count: int) -> list[LiveTurn]:
    turns = [LiveTurn(started, Pulse()) for started in await in_database(_begin, count)]
    for turn in turns:
        log.open(turn.started)
    return turns


def say(log: EventLog, turn: LiveTurn, text: str) -> None:
    piece = turn.grow(text_delta(text, len(turn.text)))
    assert piece is not None
    log.append(turn, piece)


def _assert_stored(turns: list[LiveTurn]) -> None:
    for turn in turns:
        rows = Event.objects.filter(generation_id=turn.started.generation_id, kind="message.delta")
        told = [piece for row in rows.order_by("seq") for piece in pieces_of(row.seq, row.payload)]
        assert [seq for seq, _ in told] == list(range(turn.started.seq + 1, turn.seq + 1))
        assert "".join(text for _, text in told) == turn.text
        assert Message.objects.get(id=turn.started.message_id).content == turn.text


@pytest.mark.parametrize("kind", ["locked", "broken"])
async def test_what_comes_while_a_batch_fails_is_stored_once_and_in_order(
    site: FakeEngine, log: EventLog, impatient: None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, write, is_broken = await begun(log, 20), event_rows.write_events, [kind == "broken"]

    def failing(batch: Any) -> None:
        write(batch)
        if is_broken[0]:
            raise RuntimeError("the disk")

    def all_say(what: str) -> None:
        for number, turn in enumerate(turns):
            for part in range(1 + number % 3):
                say(log, turn, f"{what}{part} ")

    monkeypatch.setattr(event_rows, "write_events", failing)
    holding: AbstractContextManager[None] = locked() if kind == "locked" else nullcontext()
    with holding:
        for count in range(3):
            all_say(f"before{count}-")
            await asyncio.sleep(0)
        flush = asyncio.create_task(log.flush())
        await until(lambda: bool(log._pending))
        for count in range(30):
            all_say(f"while{count}-")
            await asyncio.sleep(0.001)
        if kind == "locked":
            assert not flush.done(), "who waits for a lock is not told before it is over"
        else:
            with pytest.raises(StorageFailed, match="the disk"):
                await flush
        assert log._waiting == sum(turn.seq - turn.started.seq for turn in turns)
        is_broken[0] = False
    all_say("after-")
    if kind == "locked":
        await flush
    await until(lambda: not log._waiting)
    await in_database(_assert_stored, turns)


async def test_a_flush_waits_for_what_is_being_written(
    site: FakeEngine, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (turn,) = await begun(log, 1)
    write, began, gate = event_rows.write_events, threading.Event(), threading.Event()

    def held(batch: Any) -> None:
        began.set()
        assert gate.wait(60)
        write(batch)

    monkeypatch.setattr(event_rows, "write_events", held)
    await log.flush()  # nothing to wait for
    say(log, turn, "One ")
    await until(began.is_set)
    flush = asyncio.create_task(log.flush())
    for _ in range(100):
        await asyncio.sleep(0)
    was_done = flush.done()
    say(log, turn, "two")
    last = asyncio.create_task(log.flush())
    gate.set()
    await asyncio.gather(flush, last)
    assert not was_done
    await in_database(_assert_stored, [turn])
    assert log._waiting == 0


class Arrivals(deque[Any]):
    """Does something when the thread counts what has come, or has taken one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Callable[[], object] = int
        self.taken: Callable[[], object] = int

    def __len__(self) -> int:
        do, self.counted = self.counted, int
        do()
        return super().__len__()

    def popleft(self) -> Any:
        item = super().popleft()
        self.taken()
        return item


@pytest.fixture
def turn() -> Any:
    return SimpleNamespace(started=SimpleNamespace(generation_id="g"), text="One")


def test_what_the_thread_is_taking_is_waited_for(turn: Any) -> None:
    """Whoever looked between the two, at an empty queue and at nothing taken, would not wait."""
    log, arrivals, waiting = EventLog(), Arrivals(), list[int]()
    log._arrived = arrivals
    log.append(turn, Piece(2, 0, "One", [1], [0]))
    log.append(turn, Piece(3, 3, " two", [2], [3]))
    arrivals.taken = lambda: waiting.append(log._waiting)
    batch = log._take()
    assert waiting == [2, 2]
    assert [piece.seq for piece in batch["g"].pieces] == [2, 3]  # type: ignore[index]


def test_the_thread_is_told_of_what_comes_after_it_has_looked(
    turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something came just as it looked, and was taken too: a word that is taken for
    given is not given again, and the next event would wait for the next heartbeat."""
    log, arrivals, told = EventLog(), Arrivals(), list[int]()
    log._arrived = arrivals
    monkeypatch.setattr(log._wake, "notify", lambda: told.append(1))
    pieces = [Piece(number, 0, "a", [1], [0]) for number in range(3)]
    log.append(turn, pieces[0])
    arrivals.counted = lambda: log.append(turn, pieces[1])
    assert log._take()["g"].pieces == pieces[:2]  # type: ignore[index]
    del told[:]
    log.append(turn, pieces[2])
    assert told == [1]
    assert log._has_work()


async def test_a_lock_while_turns_are_stored_one_by_one_loses_none(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of one are impossible, so each is stored alone; then the database is locked."""
    turns = await begun(log, 3)
    alone, failures = event_log._store_alone, iter([None, OperationalError("database is locked")])

    def once_impossible(*_: Any) -> Any:
        monkeypatch.setattr(event_log, "_store_all", store_all)
        raise IntegrityError

    def then_locked(pending: Any) -> bool:
        if error := next(failures, None):
            raise error
        return alone(pending)

    store_all = event_log._store_all
    monkeypatch.setattr(event_log, "_store_all", once_impossible)
    monkeypatch.setattr(event_log, "_store_alone", then_locked)
    for turn in turns:
        say(log, turn, "word ")
    await log.flush()
    await in_database(_assert_stored, turns)
