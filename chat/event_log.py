"""Deltas on their way to the database: a thread with its own connection writes them in batches.

A batch is one transaction every 75 ms: what each turn said, in one row, its text so far, what
computes it, and once a second a heartbeat. Where writing takes long the next batch begins earlier,
so that no event waits longer than `LONGEST_WAIT_S` until it is stored. While the database is locked
or full the batch is kept and tried again; nobody who reads the stream waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from typing import Protocol

import structlog
from django.db import DatabaseError, DataError, IntegrityError, connections, transaction
from django.utils import timezone

from chat import event_rows
from chat.delta_rows import Piece
from chat.errors import StorageFailed, TurnLost
from chat.event_rows import Pending
from chat.models import Generation, Message
from chat.turn_records import StartedTurn
from inference.types import Began

LONGEST_WAIT_S = 0.1
"""From an event's arrival to its commit, so much is lost to a kill at most; unless the database
takes longer for two batches."""
PAUSE_S = 0.075
SHORTEST_PAUSE_S = 0.01
"""Between two batches, also where that is too long already: a database that is this slow is not
helped by more of them."""
HEARTBEAT_S = 1.0
RETRY_S = 0.5
MAX_PENDING = 100_000
"""Deltas kept in memory for a database that does not take them, over all turns."""

_log = structlog.get_logger(__name__)


class Written(Protocol):
    """A turn that is being written. text: of its message so far."""

    started: StartedTurn
    text: str


class EventLog:
    """One per process. `open` a turn, `begin` it with its first token, `check` and `append` its
    deltas, `flush` before its end, then `close`."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._turns: set[uuid.UUID] = set()
        self._lost: set[uuid.UUID] = set()
        # What has come; no lock, as for hundreds of readers it would be fought over all the time.
        self._arrived: deque[tuple[Written, Piece | Began]] = deque()
        self._knows = False  # the thread, that something has
        self._pending: dict[uuid.UUID, Pending] = {}  # the thread's own
        # Events so far, each counted by one thread: what comes by the event loop's.
        self._come = self._taken = self._stored = 0
        self._flushes: list[Future[None]] = []

    def open(self, turn: StartedTurn) -> None:
        """From now on `turn`'s row gets heartbeats."""
        with self._wake:
            self._turns.add(turn.generation_id)
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
                self._thread.start()

    def check(self, turn: StartedTurn) -> None:
        """Before more of `turn` is shown, so that nothing is shown which is not logged. Raises
        TurnLost if the message is gone, StorageFailed if too much is waiting already."""
        if turn.generation_id in self._lost:
            raise TurnLost
        if self._waiting >= MAX_PENDING:
            raise StorageFailed(f"{self._waiting} events are waiting")

    @property
    def _waiting(self) -> int:
        return self._come - self._stored

    def begin(self, turn: Written, began: Began) -> None:
        """What computes `turn`. Never waits."""
        self._put(turn, began)

    def append(self, turn: Written, piece: Piece) -> None:
        """The next event of `turn`, which its text has already. Never waits."""
        self._put(turn, piece)

    def _put(self, turn: Written, item: Piece | Began) -> None:
        self._come += 1
        self._arrived.append((turn, item))
        if not self._knows:
            self._knows = True
            with self._wake:
                self._wake.notify()

    async def flush(self) -> None:
        """Return once everything appended before this call is stored.

        Raises StorageFailed where the database refuses it (full, read-only, broken); a database
        that is merely locked is waited for.
        """
        done: Future[None] = Future()
        with self._wake:
            if not self._waiting:
                return
            self._flushes.append(done)
            self._wake.notify()
        await asyncio.wrap_future(done)

    def close(self, turn: StartedTurn) -> None:
        """No more heartbeats. What is still waiting goes on being tried."""
        with self._wake:
            self._turns.discard(turn.generation_id)
            self._lost.discard(turn.generation_id)

    def stop(self) -> None:
        """Try once more to write what is waiting, then end the thread."""
        with self._wake:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._wake.notify()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        pause, beaten = PAUSE_S, 0.0
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(self._has_work, timeout=HEARTBEAT_S)
                    self._wake.wait_for(self._is_urgent, timeout=pause)
                    stopping = self._stopping
                    flushes, self._flushes = self._flushes, []
                    turns = list(self._turns)
                batch = self._take()
                began = time.monotonic()
                is_due = began - beaten >= HEARTBEAT_S
                beaten = began if is_due else beaten
                self._write(batch, flushes, turns if is_due else ())
                pause = pause_after(time.monotonic() - began)
                if stopping:
                    return
        finally:
            connections.close_all()

    def _take(self) -> dict[uuid.UUID, Pending]:
        """What was put back, and what has come since. A text may be longer than its events say."""
        batch, self._pending = self._pending, {}
        for _ in range(len(self._arrived)):
            turn, item = self._arrived.popleft()
            self._taken += 1
            pending = batch.get(turn.started.generation_id)
            if pending is None:
                pending = batch[turn.started.generation_id] = Pending(turn.started, "")
            pending.content = turn.text
            if isinstance(item, Began):
                pending.began = item
            else:
                pending.pieces.append(item)
        self._knows = False  # last: what came meanwhile is looked for before it waits
        return batch

    def _has_work(self) -> bool:
        return bool(self._arrived or self._pending or self._flushes or self._stopping)

    def _is_urgent(self) -> bool:
        return bool(self._flushes or self._stopping)

    def _write(
        self,
        batch: dict[uuid.UUID, Pending],
        flushes: list[Future[None]],
        turns: Collection[uuid.UUID],
    ) -> None:
        try:
            try:
                self._lose(_store_all(batch.values(), turns))
            except (IntegrityError, DataError):
                # One turn's rows are impossible: the others must not be held up by it.
                self._store_each(batch)
        except Exception as error:  # the thread serves all turns, and goes on whatever it is
            self._put_back(batch, flushes, error)
            return
        self._stored = self._taken
        for done in flushes:
            done.set_result(None)

    def _store_each(self, batch: dict[uuid.UUID, Pending]) -> None:
        """What is stored, or cannot be, is taken from the batch: the rest may be tried again."""
        for key in list(batch):
            if not _store_alone(batch[key]):
                self._lose({key})
            del batch[key]

    def _lose(self, turns: set[uuid.UUID]) -> None:
        with self._wake:
            self._lost |= turns & self._turns

    def _put_back(
        self, batch: dict[uuid.UUID, Pending], flushes: list[Future[None]], error: Exception
    ) -> None:
        is_known = isinstance(error, DatabaseError)
        locked = is_known and "locked" in str(error)
        _log.warning(
            "event_log_write_failed", reason=str(error), turns=len(batch), exc_info=not is_known
        )
        connections.close_all()
        self._pending = batch
        if locked:
            with self._wake:
                self._flushes = flushes + self._flushes
        if not locked:
            for done in flushes:
                done.set_exception(StorageFailed(str(error)))
        with self._wake:
            self._wake.wait_for(lambda: self._stopping, timeout=RETRY_S)


def pause_after(took: float) -> float:
    """Seconds from the end of a batch that took so long to the beginning of the next. An event that
    came just after the batch was taken waits for the rest of it, the pause and the next one."""
    return max(SHORTEST_PAUSE_S, min(PAUSE_S, LONGEST_WAIT_S - 2 * took))


def _store_all(batch: Iterable[Pending], turns: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """One transaction for all, and for the heartbeats of `turns`. Returns the generations whose
    message no longer exists."""
    with transaction.atomic():
        lost: set[uuid.UUID] = set()
        batch = list(batch)
        if event_rows.write_texts(batch) < len(batch):
            lost = _without_message(batch)
        found = [each for each in batch if each.turn.generation_id not in lost]
        event_rows.write_events(found)
        event_rows.write_beginnings(found)
        if turns:
            running = Generation.objects.filter(id__in=turns, status=Generation.Status.RUNNING)
            running.update(heartbeat_at=timezone.now())
    return lost


def _without_message(batch: Collection[Pending]) -> set[uuid.UUID]:
    ids = [pending.turn.message_id for pending in batch]
    known = set(Message.objects.filter(id__in=ids).values_list("id", flat=True))
    return {each.turn.generation_id for each in batch if each.turn.message_id not in known}


def _store_alone(pending: Pending) -> bool:
    try:
        return not _store_all([pending], ())
    except (IntegrityError, DataError) as error:
        _log.error("event_log_rows_refused", reason=str(error), turn=str(pending.turn))
        return False
