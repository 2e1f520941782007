"""Commands that wait for their model, in the order in which they came, on the engine's thread.

Whoever asks for a model that is there goes on at once, except behind somebody who waits for room:
nobody overtakes, or a model that is always busy would keep every other one out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from inference.engine import Engine
from inference.engine_commands import Examine, Load, Submit
from inference.errors import (
    DeadlineExceeded,
    DeviceLost,
    EngineError,
    QueueFull,
    RequestFailed,
)
from inference.request_status import RequestStatus
from inference.residents import Residents
from inference.types import Loading, Queued

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Waiter:
    """arrived: on the monotonic clock. told: what its reader heard last."""

    command: Submit | Load | Examine
    arrived: float = field(default_factory=time.monotonic)
    told: Queued | Loading | None = None

    @property
    def deadline(self) -> float | None:
        seconds = self.command.request.deadline_s if isinstance(self.command, Submit) else None
        return None if seconds is None else self.arrived + seconds

    def status(self, command: Submit) -> RequestStatus:
        request = command.request
        return RequestStatus(
            request.request_id,
            request.tenant,
            "waiting",
            len(request.prompt_ids),
            age_s=time.monotonic() - self.arrived,
        )


Outcome = Engine | Queued | Loading | EngineError | None
"""The engine that it waited for, or none where a Load found no room; news of waiting; or an end."""


class ModelLine:
    def __init__(self, residents: Residents, limit: int) -> None:
        """limit: the most that may wait."""
        self._residents, self._limit = residents, limit
        self._line: list[Waiter] = []
        self._aside: list[tuple[Waiter, Future[Any]]] = []

    def __len__(self) -> int:
        return len(self._line)

    def put(self, command: Submit | Load | Examine) -> None:
        """Raises QueueFull. Who comes for a model that is there waits in its engine, if at all."""
        engines = self._residents.engines
        waiting = sum(bool(w.told) or w.command.directory not in engines for w in self._line)
        if waiting >= self._limit:
            raise QueueFull(
                f"{waiting} requests are waiting already. Try again in a moment.",
                waiting=waiting,
                limit=self._limit,
            )
        self._line.append(Waiter(command))

    def waits_for_grammar(self, waiter: Waiter, command: Submit, engine: Engine) -> bool:
        """Whether the grammar of its answer is still being compiled. Then it comes back to be
        served when that is done."""
        constraint = command.request.sampling.constraint
        compiled = engine.grammars.compiled(constraint) if constraint else None
        if compiled is None or compiled.done():
            return False
        self._aside.append((waiter, compiled))
        compiled.add_done_callback(lambda _: self._residents.wake())
        return True

    def drop(self, ticket: int) -> None:
        """Unknown tickets are ignored."""
        self._line = [waiter for waiter in self._line if waiter.command.ticket != ticket]
        self._aside = [pair for pair in self._aside if pair[0].command.ticket != ticket]

    def waiting(self) -> dict[Path, tuple[RequestStatus, ...]]:
        """The requests that wait for each model."""
        found: dict[Path, tuple[RequestStatus, ...]] = {}
        for waiter in (*self._line, *(waiter for waiter, _until in self._aside)):
            if isinstance(waiter.command, Submit):
                directory = waiter.command.directory
                found[directory] = (*found.get(directory, ()), waiter.status(waiter.command))
        return found

    def others(self) -> list[int]:
        """Tickets of those that wait and are no request."""
        return [w.command.ticket for w in self._line if not isinstance(w.command, Submit)]

    def wants(self, directory: Path) -> bool:
        """Whether anybody waits for this model."""
        return any(waiter.command.directory == directory for waiter in self._line)

    def next_deadline(self) -> float | None:
        return min((w.deadline for w in self._line if w.deadline is not None), default=None)

    def serve(self) -> Iterator[tuple[Waiter, Outcome]]:
        """Do a piece of work on the model that is being loaded, begin to load another one, and say
        what has become of those who wait. Who is served or told of an end waits no more. Raises
        DeviceLost."""
        yield from self._proceed()
        self._line += [waiter for waiter, until in self._aside if until.done()]
        self._aside = [pair for pair in self._aside if pair[0] not in self._line]
        now, place, is_blocked = time.monotonic(), 0, False
        for waiter in list(self._line):
            outcome: Outcome
            if waiter.deadline is not None and waiter.deadline < now:
                outcome = DeadlineExceeded(waiter.deadline - waiter.arrived)
            else:
                outcome = self._look(waiter, place, is_blocked=is_blocked)
            if isinstance(outcome, Queued | Loading):
                is_queued = isinstance(outcome, Queued)
                place += is_queued
                is_blocked |= is_queued and self._residents.loading is None
                if outcome == waiter.told:
                    continue
                waiter.told = outcome
            else:
                self._line.remove(waiter)
            yield waiter, outcome

    def _look(self, waiter: Waiter, place: int, *, is_blocked: bool) -> Outcome:
        """place: how many stand before it."""
        residents, directory = self._residents, waiter.command.directory
        if directory == residents.loading:
            return residents.progress
        if is_blocked:
            return Queued(place + 1)
        if directory in residents.engines:
            return residents.engines[directory]
        if residents.loading is not None:
            return Queued(place + 1)
        is_asked_for = not isinstance(waiter.command, Load) or waiter.command.makes_room
        try:
            if residents.begin(directory, unload=is_asked_for):
                return residents.progress
        except Exception as error:
            return _as_engine_error(error)
        return Queued(place + 1) if is_asked_for else None

    def _proceed(self) -> Iterator[tuple[Waiter, EngineError]]:
        directory = self._residents.loading
        try:
            self._residents.proceed()
        except Exception as error:
            failure = _as_engine_error(error)
            for waiter in [w for w in self._line if w.command.directory == directory]:
                self._line.remove(waiter)
                yield waiter, failure


def _as_engine_error(error: Exception) -> EngineError:
    """Raises DeviceLost, which is more than a failed load."""
    if isinstance(error, DeviceLost):
        raise error
    if isinstance(error, EngineError):
        return error
    log.error("model.failed", exc_info=error)
    return RequestFailed(f"The engine could not load the model: {error}")
