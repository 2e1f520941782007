"""The engine on a thread of the server's own process: `EngineClient` over `Engine`.

Commands go to the thread through a queue, events come back to the event loop in one call for
each step. Tokens wait in the request's mailbox: the engine never waits for a reader.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import structlog

import kernels
from inference.client import PromptCodec
from inference.engine import Engine
from inference.errors import EngineError, EngineStopped, ModelNotFound, RequestFailed
from inference.loading import load_codec, load_engine
from inference.mailbox import Mailbox
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.types import EngineEvent, Finished, GenerateRequest, ModelInfo

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Submit:
    request: GenerateRequest
    codec: PromptCodec
    directory: Path
    mailbox: Mailbox


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str


class _Stop:
    pass


_Command = _Submit | _Cancel | _Stop
_Delivery = list[tuple[Mailbox, EngineEvent | EngineError]]


class EngineThread:
    """See `inference.client.EngineClient`. All methods belong to one event loop."""

    def __init__(self, store: ModelStore, options: EngineOptions) -> None:
        self._store, self._options = store, options
        self._codecs: dict[str, PromptCodec] = {}
        self._loaded: dict[Path, Engine] = {}
        self._worker: _Worker | None = None

    async def start(self) -> None:
        """Ready when the models that a fresh installation has, as far as they are here, are
        loaded: nobody's first message waits for that."""
        loop = asyncio.get_running_loop()
        self._worker = _Worker(self._options, self._loaded, loop)
        for entry in self._store.catalogue.defaults():
            if self._store.state(entry.name)[0] != "ready":
                continue
            try:
                await self._load(entry.name)
            except EngineError as error:  # said again to whoever asks for this model
                log.warning("model.invalid", model=entry.name, detail=error.message)
        self._worker.start()

    async def _load(self, model: str) -> None:
        assert self._worker is not None
        codec, directory = await self.codec(model), self._store.directory(model)
        await asyncio.to_thread(self._worker.load, directory, codec)

    async def stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.tell(_Stop())
            await asyncio.to_thread(worker.join)

    def engines(self) -> list[Engine]:
        """The engines that were loaded, to be looked at while the thread is idle or stopped."""
        return list(self._loaded.values())

    def models(self) -> list[ModelInfo]:
        return self._store.infos()

    async def codec(self, model: str) -> PromptCodec:
        if "/" in model:  # a path is for commands, not for what comes over the network
            raise ModelNotFound(model, list(self._store.catalogue.entries))
        if model not in self._codecs:
            directory, kind = self._store.ready_directory(model), self._store.kind(model)
            self._codecs[model] = await asyncio.to_thread(
                load_codec, directory, kind, self._options
            )
        return self._codecs[model]

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[EngineEvent, None]:
        codec = await self.codec(request.model)
        directory = self._store.directory(request.model)
        worker, mailbox = self._worker, Mailbox()
        submit = _Submit(request, codec, directory, mailbox)
        if worker is None or not worker.is_alive() or not worker.tell(submit):
            raise EngineStopped("The engine is not running.")
        ended = False
        try:
            while not ended:
                event = await mailbox.get()
                ended = isinstance(event, Finished)
                yield event
        except EngineError:  # it has ended by itself, and its name may be somebody else's
            ended = True
            raise
        finally:
            if not ended:
                worker.tell(_Cancel(request.request_id))


class _Worker(threading.Thread):
    """Obeys commands between steps, and steps every engine that has work, in turn."""

    def __init__(
        self,
        options: EngineOptions,
        engines: dict[Path, Engine],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._options, self._loop = options, loop
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._engines = engines
        self._mailboxes: dict[str, Mailbox] = {}
        self._ended, self._telling = False, threading.Lock()

    def tell(self, command: _Command) -> bool:
        """Have a command obeyed. False: the thread has ended, and nobody would hear it."""
        with self._telling:
            if not self._ended:
                self._commands.put(command)
            return not self._ended

    def run(self) -> None:
        kernels.set_threads(self._options.threads)
        try:
            while self._obey():
                for engine in self._engines.values():
                    if not engine.is_idle:
                        self._deliver(engine)
        except Exception:
            log.exception("engine.died")
        finally:
            self._end_all()

    def _obey(self) -> bool:
        """Carry out the commands that wait; wait for one when idle. False: it is time to stop."""
        while True:
            idle = all(engine.is_idle for engine in self._engines.values())
            try:
                command = self._commands.get(block=idle)
            except queue.Empty:
                return True
            if isinstance(command, _Stop):
                return False
            if isinstance(command, _Cancel):
                self._cancel(command.request_id)
            else:
                self._submit(command)

    def _submit(self, command: _Submit) -> None:
        request_id = command.request.request_id
        try:
            self.load(command.directory, command.codec).add(command.request)
        except Exception as error:
            failure = error if isinstance(error, EngineError) else _unexpected(error)
            self._post([(command.mailbox, failure)])
            return
        self._mailboxes[request_id] = command.mailbox

    def load(self, directory: Path, codec: PromptCodec) -> Engine:
        """The engine of a model's directory, loaded on its first use."""
        if directory not in self._engines:
            log.info("model.loading", directory=directory.name)
            self._engines[directory] = load_engine(directory, codec, self._options)
        return self._engines[directory]

    def _cancel(self, request_id: str) -> None:
        self._mailboxes.pop(request_id, None)
        for engine in self._engines.values():
            engine.cancel(request_id)

    def _deliver(self, engine: Engine) -> None:
        delivery: _Delivery = []
        for request_id, event in engine.step():
            delivery.append((self._mailboxes[request_id], event))
            if isinstance(event, Finished | EngineError):
                del self._mailboxes[request_id]
        self._post(delivery)

    def _post(self, delivery: _Delivery) -> None:
        def put() -> None:
            for mailbox, event in delivery:
                mailbox.put(event)

        if delivery and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(put)

    def _end_all(self) -> None:
        """Tell everyone who waits, and everyone whose request nobody has read."""
        with self._telling:
            self._ended = True
        waiting, requests = list(self._mailboxes.values()), list(self._mailboxes)
        while not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, _Submit):
                waiting.append(command.mailbox)
        stopped = EngineStopped("The engine has stopped. The text so far is kept.")
        self._post([(mailbox, stopped) for mailbox in waiting])
        for request_id in requests:
            self._cancel(request_id)


def _unexpected(error: Exception) -> RequestFailed:
    log.error("request.refused", exc_info=error)
    return RequestFailed(f"The engine could not take the request: {error}")
