"""The engine in a process of its own: `EngineClient` over an `EngineWorker` at the other end of a
socket. When that process dies, its readers are told and another one takes its place. No torch.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from inference.child_process import ChildProcess, in_words
from inference.engine_commands import Command, Delivery, Stop
from inference.engine_wire import Begin, Farewell
from inference.errors import EngineCrashed, EngineError, EngineStopped
from inference.mailbox_client import MailboxClient
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.restarts import Restarts

START_WAIT_S = 60.0
"""How long a request waits for a process that is being started."""
STOP_WAIT_S = 10.0
"""How long the last step of a process that is told to stop may take."""
EXIT_WAIT_S = 0.5
"""How long readers of a dead process wait to be told what ended it."""

log = structlog.get_logger(__name__)


class EngineProcess(MailboxClient):
    """See `inference.client.EngineClient`. All methods belong to one event loop.

    prepare: called in each new process before it does anything else, to set up its log, say. It
    is found there by its module and name.
    """

    def __init__(
        self,
        store: ModelStore,
        options: EngineOptions,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        for name in ("tuning_file", "kv_folder"):  # the process has a working directory of its own
            if path := getattr(options, name):
                options = replace(options, **{name: path.absolute()})
        super().__init__(store, options)
        self._prepare = prepare
        self._keeper: asyncio.Task[None] | None = None
        self._child: ChildProcess | None = None
        self._ready: asyncio.Future[str]  # what keeps us from serving: '' where nothing does
        self._served_since: float | None = None
        self._paused_until = 0.0
        self._start_took_s = 0.0  # of the last process that came to serve
        self._farewell = ""
        self._has_served = self._stopping = False

    async def start(self) -> None:
        """Ready when the default models are loaded. Raises EngineCrashed when they cannot be,
        because each process dies of it."""
        self._has_served = self._stopping = False
        self._loaded = set()
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._keeper = asyncio.create_task(self._keep())
        try:
            await self._until_started()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        self._stopping = True
        if self._served_since is not None and self._tell(Stop()):
            await asyncio.wait([keeper], timeout=STOP_WAIT_S)
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        self._fail_all(_stopped())
        self._answer_waiting("it has stopped")

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(START_WAIT_S):
                await self._until_started()
        except TimeoutError:
            raise EngineCrashed("it is still being started", self._back_in_s()) from None

    async def _until_started(self) -> None:
        trouble = await asyncio.shield(self._ready) if self._keeper else ""
        if self._keeper is None:
            raise EngineStopped("The engine is not running.")
        if trouble:
            raise EngineCrashed(trouble, self._back_in_s())

    def _tell(self, command: Command) -> bool:
        return self._child is not None and self._child.tell(command)

    def _hear(self, message: Delivery | Farewell) -> None:
        if isinstance(message, Farewell):
            self._farewell = message.reason
            self._await_another()
        else:
            self._deliver(message)

    def _await_another(self) -> None:
        """From now on requests wait for the next process."""
        if self._ready.done():
            self._ready = asyncio.get_running_loop().create_future()

    def _back_in_s(self) -> int:
        """Whole seconds until the next process is likely to serve."""
        pause = max(0.0, self._paused_until - time.monotonic())
        return max(1, math.ceil(pause + self._start_took_s))

    def _answer_waiting(self, trouble: str) -> None:
        """Requests wait no longer. trouble: why not to be served, if so."""
        if not self._ready.done():
            self._ready.set_result(trouble)

    async def _keep(self) -> None:
        """Have a process running, until it is time to stop."""
        restarts = Restarts()
        while True:
            try:
                reason = await self._live()
            except Exception as error:
                log.exception("engine.child_failed")
                reason = f"{type(error).__name__}: {error}"
            if self._stopping:
                return
            served = time.monotonic() - self._served_since if self._served_since else 0
            pause = restarts.pause_after(served)
            if pause:
                log.error("engine.child_paused", reason=reason, seconds=pause)
                self._paused_until = time.monotonic() + pause
                self._answer_waiting(reason)
                await asyncio.sleep(pause)
                self._await_another()

    async def _live(self) -> str:
        """One process, from its start to its end. Returns why it ended."""
        self._farewell, self._served_since, reason = "", None, ""
        begin = Begin(self._options, self._prepare)
        began = time.monotonic()
        child = self._child = await ChildProcess.start(begin, self._hear)
        log.info("engine.child_started", pid=child.pid)
        watching = asyncio.create_task(self._watch(child))
        try:
            with suppress(EngineCrashed, EngineStopped):  # said as it ends
                await self._bring_up()
                if child.is_open and not self._farewell:
                    self._served_since, self._has_served = time.monotonic(), True
                    self._start_took_s = self._served_since - began
                    self._answer_waiting("")
            reason = await watching
            return reason
        finally:
            watching.cancel()
            status = await child.end()
            if self._stopping:
                log.info("engine.child_stopped", pid=child.pid, exitcode=status)
            else:
                log.error("engine.child_died", pid=child.pid, exitcode=status, reason=reason)

    async def _bring_up(self) -> None:
        """Load what the last process had loaded; the default models, until one has served. A model
        that kills its process is not tried again before somebody asks for it."""
        before, self._loaded = self._loaded, set()
        if not self._has_served:
            await self._load_defaults()
        for directory in before:
            try:
                await self._load(directory)
            except (EngineCrashed, EngineStopped):
                raise
            except EngineError as error:
                log.warning("model.invalid", model=directory.name, detail=error.message)

    async def _watch(self, child: ChildProcess) -> str:
        """Tell everyone who waits, once the process has said its last word. Returns why."""
        await child.until_closed()
        self._await_another()
        status = await child.exit_status(within_s=EXIT_WAIT_S)
        reason = self._farewell or in_words(status)
        self._fail_all(_stopped() if self._stopping else EngineCrashed(reason, self._back_in_s()))
        return reason


def _stopped() -> EngineStopped:
    return EngineStopped("The engine has stopped. The text so far is kept.")
