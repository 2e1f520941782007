"""The thread that drives the engines: it obeys commands between steps, and tells what happened.

It serves an `EngineThread` beside it as well as an `EngineProcess` at the other end of a pipe.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

import kernels
from inference.engine import Engine
from inference.engine_commands import (
    Cancel,
    Command,
    Delivery,
    EngineState,
    Forget,
    Load,
    Look,
    Report,
    Said,
    Stop,
    Submit,
)
from inference.errors import (
    DeviceLost,
    EngineError,
    EngineStopped,
    InvalidParameter,
    RequestFailed,
)
from inference.kv_files import KVFiles
from inference.types import Finished

SAVE_S = 4.0
"""How long the end may take to save what sessions have computed."""

log = structlog.get_logger(__name__)


class EngineWorker(threading.Thread):
    """engines: by directory, shared with whoever wants to look at them later. load: makes the
    engine of a directory on its first use. deliver: takes what is said, once for each step; it
    may not wait, and any thread may call it. farewell: told what ended the thread, if it was no
    Stop, before its readers are. files: where `load` has the texts of sessions kept, if anywhere;
    closed at the end. threads: for computing."""

    def __init__(
        self,
        engines: dict[Path, Engine],
        *,
        load: Callable[[Path], Engine],
        deliver: Callable[[Delivery], None],
        farewell: Callable[[Exception], None] = lambda failure: None,
        files: KVFiles | None = None,
        threads: int,
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._engines, self._load, self._threads = engines, load, threads
        self._deliver, self._farewell, self._files = deliver, farewell, files
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._tickets: dict[str, int] = {}  # of the requests in flight
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
            kernels.set_threads(self._threads)
            while self._obey():
                for engine in self._engines.values():
                    if not engine.is_idle:
                        self._step(engine)
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
        """Carry out the commands that wait; wait for one when idle. False: it is time to stop."""
        while True:
            idle = all(engine.is_idle for engine in self._engines.values())
            try:
                command = self._commands.get(idle, timeout=self._rest() if idle else None)
            except queue.Empty:
                if idle:
                    continue
                return True
            if isinstance(command, Stop):
                return False
            if isinstance(command, Cancel):
                self._cancel(command)
            elif isinstance(command, Forget):
                self._forget(command)
            else:
                self._answer(command)

    def _rest(self) -> float | None:
        """Have the engines do a piece of what waits for an idle moment. Returns the seconds until
        there is more of it, None where there is nothing."""
        pauses = [engine.sessions.rest() for engine in self._engines.values()]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _answer(self, command: Submit | Load | Look) -> None:
        answer: Said
        try:
            if isinstance(command, Submit):
                self._submit(command)
                return
            if isinstance(command, Load):
                self._engine(command.directory)
            answer = self._report()
        except DeviceLost:
            self._commands.put(command)  # to be told with all the others
            raise
        except EngineError as error:
            answer = error
        except Exception as error:
            log.exception("command.failed", command=type(command).__name__)
            answer = RequestFailed(f"The engine could not take the request: {error}")
        self._deliver([(command.ticket, answer)])

    def _submit(self, command: Submit) -> None:
        name = command.request.request_id
        if name in self._tickets:
            raise InvalidParameter("request_id", name, "unique")
        self._engine(command.directory).add(command.request)
        self._tickets[name] = command.ticket

    def _engine(self, directory: Path) -> Engine:
        """The engine of a model's directory, loaded on its first use."""
        if directory not in self._engines:
            log.info("model.loading", directory=directory.name)
            self._engines[directory] = self._load(directory)
        return self._engines[directory]

    def _cancel(self, command: Cancel) -> None:
        if self._tickets.get(command.request_id) == command.ticket:
            self._drop(command.request_id)

    def _forget(self, command: Forget) -> None:
        for engine in self._engines.values():
            for session in command.sessions:
                engine.sessions.forget(session)
        delivery: Delivery = [(command.ticket, self._report())]
        if self._files:
            gone = self._files.forget(command.sessions)
            gone.add_done_callback(lambda _: self._deliver(delivery))
        else:
            self._deliver(delivery)

    def _drop(self, request_id: str) -> None:
        del self._tickets[request_id]
        for engine in self._engines.values():
            engine.cancel(request_id)

    def _report(self) -> Report:
        return Report(
            tuple(
                EngineState(
                    directory, engine.is_idle, engine.cache.free_blocks, engine.cache.total_blocks
                )
                for directory, engine in self._engines.items()
            )
        )

    def _step(self, engine: Engine) -> None:
        delivery: Delivery = []
        for request_id, event in engine.step():
            delivery.append((self._tickets[request_id], event))
            if isinstance(event, Finished | EngineError):
                del self._tickets[request_id]
        if delivery:
            self._deliver(delivery)

    def _end_all(self, last_word: EngineError) -> None:
        """Tell everyone who waits, and everyone whose command nobody has read."""
        with self._telling:
            self._ended = True
        waiting = list(self._tickets.values())
        while not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, Submit | Load | Look | Forget):
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
