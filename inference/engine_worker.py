"""The thread that drives the engines: it obeys commands between steps, and tells what happened.

It serves an `EngineThread` beside it as well as an `EngineProcess` at the other end of a pipe.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

import kernels
from inference.engine import Engine
from inference.engine_commands import (
    NEWS,
    Cancel,
    Command,
    Delivery,
    EngineState,
    Examine,
    Forget,
    KeepAlive,
    Load,
    Look,
    Report,
    Said,
    Stop,
    Submit,
    Unload,
    Wake,
    Withdraw,
)
from inference.engine_state import state_of
from inference.errors import (
    DeviceLost,
    EngineError,
    EngineStopped,
    InvalidParameter,
    ModelBusy,
    RequestFailed,
)
from inference.latencies import Latencies
from inference.model_line import ModelLine, Outcome, Waiter
from inference.model_loader import ModelLoader
from inference.residents import SAVE_S, Residents
from inference.types import Finished, Loading, Queued

log = structlog.get_logger(__name__)


class EngineWorker(threading.Thread):
    """engines: by directory, shared with whoever wants to look at them later. loader: makes the
    engine of a directory when it is asked for; its files are closed at the end. deliver: takes what
    is said, once for each step; it may not wait, and any thread may call it. farewell: told what
    ended the thread, if it was no Stop, before its readers are."""

    def __init__(
        self,
        engines: dict[Path, Engine],
        *,
        loader: ModelLoader,
        deliver: Callable[[Delivery], None],
        farewell: Callable[[Exception], None] = lambda failure: None,
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._engines, self._loader, self._files = engines, loader, loader.files
        self._residents = Residents(engines, loader, wake=lambda: self.tell(Wake()))
        self._line = ModelLine(self._residents, loader.options.queue_limit)
        self._deliver, self._farewell = deliver, farewell
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._tickets: dict[str, int] = {}  # of the requests in flight
        self._cancels = Latencies()
        self._ended, self._telling = False, threading.Lock()
        self.failure: Exception | None = None
        """What ended the thread, as `farewell` was told."""

    def tell(self, command: Command) -> bool:
        """Have a command obeyed. False: the thread has ended, and nobody would hear it."""
        with self._telling:
            if not self._ended:
                self._commands.put(command)
            return not self._ended

    def run(self) -> None:
        last_word: EngineError = EngineStopped("The engine has stopped. The text so far is kept.")
        try:
            kernels.set_threads(self._loader.options.threads)
            while self._obey():
                self._serve()
                self._step_all()
        except DeviceLost as error:
            log.error("engine.device_lost", reason=error.fields["reason"])
            self.failure = last_word = error
        except Exception as error:
            log.exception("engine.died")
            self.failure = error
        finally:
            if self.failure:
                self._farewell(self.failure)
            self._end_all(last_word)
            self._close()

    def _obey(self) -> bool:
        """Carry out the commands that wait; while there is nothing to do, wait for one, or until a
        model is to be unloaded or a request is late. False: it is time to stop."""
        is_idle = self._is_idle
        while True:
            try:
                command = self._commands.get(is_idle, self._patience() if is_idle else None)
            except queue.Empty:
                return True
            is_idle = False
            if isinstance(command, Stop):
                return False
            if isinstance(command, Cancel):
                self._cancel(command)
            elif isinstance(command, Forget):
                self._forget(command)
            elif isinstance(command, Withdraw):
                self._withdraw(command)
            elif isinstance(command, KeepAlive):
                self._residents.keep_alive_s = command.seconds
            elif not isinstance(command, Wake):
                self._answer(command.ticket, partial(self._take, command))

    @property
    def _is_idle(self) -> bool:
        is_reading = self._residents.loading is not None and not self._residents.has_work
        nobody_to_serve = is_reading or not self._line
        return nobody_to_serve and all(engine.is_idle for engine in self._engines.values())

    def _patience(self) -> float | None:
        """Seconds to wait for a command; None: as long as it takes."""
        ends = (self._residents.next_end(), self._line.next_deadline())
        known = [end - time.monotonic() for end in ends if end is not None]
        # the engines do a piece of what waits for an idle moment
        rests = [engine.sessions.rest() for engine in self._engines.values()]
        known += [pause for pause in rests if pause is not None]
        return max(0.0, min(known)) if known else None

    def _answer(self, ticket: int, work: Callable[[], Said | None]) -> None:
        """Do the work, and say what it gives or what is wrong."""
        answer: Said | None
        try:
            answer = work()
        except EngineError as error:
            answer = error
        except Exception as error:
            log.exception("command.failed")
            answer = RequestFailed(f"The engine could not take the request: {error}")
        if answer:
            self._deliver([(ticket, answer)])

    def _take(self, command: Submit | Load | Unload | Look | Examine) -> Report | None:
        if isinstance(command, Unload):
            if self._line.wants(command.directory):
                raise ModelBusy(command.directory.name)
            self._residents.unload(command.directory)
        if isinstance(command, Unload | Look):
            return self._report()
        name = command.request.request_id if isinstance(command, Submit) else None
        if name in self._tickets:
            raise InvalidParameter("request_id", name, "unique")
        self._line.put(command)
        if name is not None:
            self._tickets[name] = command.ticket
        return None

    def _serve(self) -> None:
        """Between two steps: unload what nobody wants, load what somebody does, and let in who
        waited for it."""
        self._residents.unload_overdue()
        for waiter, outcome in self._line.serve():
            command = waiter.command
            if isinstance(command, Submit):
                self._answer(command.ticket, partial(self._let_in, command, waiter, outcome))
            elif isinstance(command, Examine) and isinstance(outcome, Engine):
                add = partial(outcome.examinations.add, command.ticket, command.question)
                self._answer(command.ticket, add)
            elif not isinstance(outcome, Queued | Loading):
                answer = outcome if isinstance(outcome, EngineError) else self._report()
                self._deliver([(command.ticket, answer)])
        if self._residents.has_changed:
            self._residents.has_changed = False
            self._deliver([(NEWS, self._report())])

    def _let_in(self, command: Submit, waiter: Waiter, outcome: Outcome) -> Said | None:
        """Into its engine, if that is there; or say what keeps it."""
        if isinstance(outcome, Queued | Loading):
            return outcome
        try:
            if isinstance(outcome, EngineError):
                raise outcome
            assert outcome is not None
            if not self._line.waits_for_grammar(waiter, command, outcome):
                outcome.add(command.request, waiter.arrived)
        except Exception:
            del self._tickets[command.request.request_id]
            raise
        self._residents.use(command.directory)
        return None

    def _cancel(self, command: Cancel) -> None:
        if self._tickets.get(command.request_id) == command.ticket:
            self._drop(command.request_id)
            took = time.monotonic() - command.asked_at
            self._cancels = self._cancels.and_one(took)
            name = command.request_id
            log.info("request.freed", request_id=name, cancel_latency_ms=1e3 * took)
        elif not command.request_id:
            self._line.drop(command.ticket)

    def _withdraw(self, command: Withdraw) -> None:
        self._line.drop(command.ticket)
        for engine in self._engines.values():
            engine.examinations.drop(command.ticket)

    def _forget(self, command: Forget) -> None:
        delivery: Delivery = []
        for engine in self._engines.values():
            for session in command.sessions:
                delivery += engine.examinations.forget(session)
                engine.sessions.forget(session)
        delivery.append((command.ticket, self._report()))
        if self._files:
            gone = self._files.forget(command.sessions)
            gone.add_done_callback(lambda _: self._deliver(delivery))
        else:
            self._deliver(delivery)

    def _drop(self, request_id: str) -> None:
        self._line.drop(self._tickets.pop(request_id))
        for engine in self._engines.values():
            engine.cancel(request_id)

    def _report(self) -> Report:
        residents, loading = self._residents, self._residents.loading
        return Report(
            tuple(map(self._state, self._engines)),
            (loading, residents.loading_size) if loading else None,
            self._line.waiting(),
            self._loader.device,
            self._loader.budget,
            self._cancels,
            self._loader.process_status(),
        )

    def _state(self, directory: Path) -> EngineState:
        need, end = self._residents.need(directory), self._residents.ends_at(directory)
        stays_s = None if end is None else max(0.0, end - time.monotonic())
        return state_of(self._engines[directory], directory, need, stays_s)

    def _step_all(self) -> None:
        for directory, engine in self._engines.items():
            if not engine.is_idle:
                self._step(engine)
                self._residents.use(directory)

    def _step(self, engine: Engine) -> None:
        delivery: Delivery = []
        for request_id, event in engine.step():
            delivery.append((self._tickets[request_id], event))
            if isinstance(event, Finished | EngineError):
                del self._tickets[request_id]
        delivery += engine.examinations.proceed()
        if delivery:
            self._deliver(delivery)

    def _end_all(self, last_word: EngineError) -> None:
        """Tell everyone who waits, and everyone whose command nobody has read."""
        with self._telling:
            self._ended = True
        waiting = [*self._tickets.values(), *self._line.others()]
        for engine in self._engines.values():
            for ticket in engine.examinations.tickets:
                engine.examinations.drop(ticket)
                waiting.append(ticket)
        while not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, Submit | Load | Unload | Look | Forget | Examine):
                waiting.append(command.ticket)
        self._deliver([(ticket, last_word) for ticket in waiting])
        for request_id in list(self._tickets):
            self._drop(request_id)

    def _close(self) -> None:
        """Save what can be saved: an engine that has failed is not asked."""
        end = time.monotonic() + SAVE_S
        try:
            for engine in self._engines.values() if self.failure is None else ():
                engine.sessions.save(end - time.monotonic())
        except Exception:
            log.exception("kv.not_saved")
        if self._files:
            self._files.close()
