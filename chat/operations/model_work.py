"""One piece of long work on a model at a time: watched, cancelled, and told how it ended.

It runs in a thread of its own that does not keep the server from ending: what a download has
brought stays, and a conversion that was cut leaves nothing.
"""

from __future__ import annotations

import contextvars
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import connection
from django.utils import translation
from django.utils.translation import gettext as _

from chat import audit
from chat.errors import ChatError, wire
from inference.errors import EngineError

_log = structlog.get_logger(__name__)


class WorkInProgress(ChatError):
    code = "work_in_progress"
    status = 409
    retryable = True

    def __init__(self) -> None:
        super().__init__(_("Something else is being done to a model. Wait for it, or cancel it."))


class Cancelled(Exception):
    """The work was told to stop."""


class Watched:
    """What work tells whoever watches (`inference.downloads.Progress`), and where it hears that it
    is to stop."""

    terminal = False

    def __init__(self) -> None:
        self.label, self.done = "", 0
        self.total: int | None = None
        self.notes: list[str] = []
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def begin(self, label: str, total: int | None) -> None:
        self.label, self.total, self.done = label, total, 0
        self.check()

    def at(self, done: int) -> None:
        self.done = done
        self.check()

    def end(self) -> None:
        self.label, self.total, self.done = "", None, 0

    def note(self, message: str) -> None:
        self.notes.append(message)
        self.check()

    def check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def cancel(self) -> None:
        self._cancelled.set()
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()

    def run(self, command: list[str], **kwargs: Any) -> None:
        """A command that is ended with the work. Raises Cancelled, and Failed with what it said."""
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs
        ) as process:
            self._process = process
            if self._cancelled.is_set():
                process.terminate()
            said, _errors = process.communicate()
        self._process = None
        self.check()
        if process.returncode:
            raise Failed(said.strip().splitlines()[-1] if said.strip() else str(process.returncode))


class Failed(Exception):
    """Why, in words."""


@dataclass
class Work:
    """state: running, done, cancelled or failed, then with a message that says why."""

    verb: str
    model: str
    watched: Watched
    state: str = "running"
    message: str = ""

    def told(self) -> dict[str, Any]:
        watched = self.watched
        return {
            "verb": self.verb,
            "model": self.model,
            "state": self.state,
            "message": self.message,
            "label": watched.label,
            "done": watched.done,
            "total": watched.total,
            "notes": watched.notes[-3:],
        }


class ModelWork:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: Work | None = None
        self._thread: threading.Thread | None = None

    def start(self, verb: str, model: str, task: Callable[[Watched], None]) -> None:
        """Raises WorkInProgress."""
        with self._lock:
            if self._work is not None and self._work.state == "running":
                raise WorkInProgress
            work = self._work = Work(verb, model, Watched())
            language, context = translation.get_language(), contextvars.copy_context()

            def run() -> None:
                with translation.override(language):
                    _carry_out(work, task)

            name = f"model-{verb}"
            self._thread = threading.Thread(target=context.run, args=(run,), name=name, daemon=True)
            self._thread.start()

    def cancel(self) -> bool:
        """False: there is nothing to cancel."""
        work = self._work
        if work is None or work.state != "running":
            return False
        work.watched.cancel()
        return True

    def told(self) -> dict[str, Any] | None:
        """The work that is done, or was last."""
        return self._work.told() if self._work else None

    def wait(self, timeout_s: float) -> bool:
        """Until it has ended, however it does."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True


def _carry_out(work: Work, task: Callable[[Watched], None]) -> None:
    try:
        task(work.watched)
        state, message = "done", ""
    except Cancelled:
        state, message = "cancelled", ""
    except (EngineError, ChatError) as error:
        state, message = "failed", wire(error).message
    except (Failed, OSError) as error:
        state, message = "failed", str(error)
    except Exception as error:
        _log.exception("model_work.failed", verb=work.verb, model=work.model)
        state, message = "failed", f"{type(error).__name__}: {error}"
    try:
        after = {"ended": state} | ({"reason": message[:500]} if message else {})
        name = work.model
        audit.record(
            f"model.{work.verb}", target_type="model", target_id=name, target=name, after=after
        )
    except Exception:
        _log.exception("audit.not_written", verb=work.verb, model=work.model)
    finally:
        connection.close()
        work.message, work.state = message, state  # last: whoever waits for it may go on


work = ModelWork()
"""Of this process."""
