"""What the engine clients of this machine have in common: commands go to a worker with a ticket,
and what it says comes back into the mailbox of that ticket. No torch here.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from inference.client import PromptCodec
from inference.engine_commands import (
    Cancel,
    Command,
    Delivery,
    Examine,
    Forget,
    KeepAlive,
    Load,
    Look,
    Report,
    Submit,
    Unload,
    Withdraw,
)
from inference.errors import EngineCrashed, EngineError, EngineStopped, ModelNotFound
from inference.examination import Examined, Question
from inference.kv_files import saved_sessions
from inference.loading import load_codec
from inference.mailbox import Mailbox
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.status import status_of
from inference.types import (
    Delta,
    EngineEvent,
    EngineStatus,
    Finished,
    GenerateRequest,
    ModelInfo,
    SamplingParams,
    Take,
)

log = structlog.get_logger(__name__)


class MailboxClient(ABC):
    """See `inference.client.EngineClient`. All methods belong to one event loop."""

    def __init__(self, store: ModelStore, options: EngineOptions) -> None:
        self._store, self._options = store, options
        self._codecs: dict[str, PromptCodec] = {}
        self._loaded: set[Path] = set()
        self._tickets = itertools.count(1)
        self._mailboxes: dict[int, Mailbox] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def _until_ready(self) -> None:
        """Wait until commands are heard. Raises EngineError where that is not to be expected."""

    @abstractmethod
    def _tell(self, command: Command) -> bool:
        """Have a command obeyed. False: nobody would hear it."""

    def models(self) -> list[ModelInfo]:
        return self._store.infos()

    def defaults(self, model: str) -> SamplingParams:
        return self._store.defaults(model)

    async def codec(self, model: str) -> PromptCodec:
        if "/" in model:  # a path is for commands, not for what comes over the network
            raise ModelNotFound(model, list(self._store.catalogue.entries))
        if model not in self._codecs:
            directory, kind = self._store.ready_directory(model), self._store.kind(model)
            self._codecs[model] = await asyncio.to_thread(
                load_codec, directory, kind, self._options
            )
        return self._codecs[model]

    async def status(self) -> EngineStatus:
        return status_of(await self.report(), self._names())

    async def report(self) -> Report:
        """What the engines hold at this moment. Raises EngineError."""
        await self._until_ready()
        return await self._ask(Look)

    async def load(self, model: str) -> None:
        await self.codec(model)
        await self._until_ready()
        directory = self._directory(model)
        await self._ask(lambda ticket: Load(ticket, directory, makes_room=True))

    async def unload(self, model: str) -> None:
        await self._until_ready()
        directory = self._directory(model)
        await self._ask(lambda ticket: Unload(ticket, directory))
        for name in [name for name in self._codecs if self._directory(name) == directory]:
            del self._codecs[name]  # its files may be others next time

    def keep_alive(self, seconds: float) -> None:
        self._options = replace(self._options, keep_alive_s=seconds)
        self._tell(KeepAlive(seconds))

    async def saved_sessions(self) -> set[str]:
        folder = self._options.kv_folder
        return await asyncio.to_thread(saved_sessions, folder) if folder else set()

    def forget(self, sessions: Iterable[str]) -> Future[None]:
        names = tuple(sessions)
        if self._loop is None:
            raise EngineStopped("The engine is not running.")
        return asyncio.run_coroutine_threadsafe(self._forget(names), self._loop)

    async def _forget(self, sessions: tuple[str, ...]) -> None:
        await self._until_ready()
        await self._ask(lambda ticket: Forget(ticket, sessions))

    async def stream(
        self, request: GenerateRequest, take: Take | None = None
    ) -> AsyncGenerator[EngineEvent, None]:
        await self.codec(request.model)
        await self._until_ready()
        directory = self._directory(request.model)
        with self._mailbox(take) as (ticket, mailbox):
            if not self._tell(Submit(ticket, request, directory)):
                raise EngineStopped("The engine is not running.")
            ended = False
            try:
                while not ended:
                    event = await mailbox.get()
                    assert not isinstance(event, Report | Examined)
                    ended = isinstance(event, Finished)
                    if take is not None and isinstance(event, Delta):
                        take(event)
                    else:
                        yield event
            except EngineError:
                ended = True
                raise
            finally:
                if not ended:
                    self._tell(Cancel(ticket, request.request_id, time.monotonic()))

    async def examine(self, model: str, question: Question) -> Examined:
        await self.codec(model)
        await self._until_ready()
        directory = self._directory(model)
        with self._mailbox() as (ticket, mailbox):
            if not self._tell(Examine(ticket, question, directory)):
                raise EngineStopped("The engine is not running.")
            try:
                answer = await mailbox.get()
            except asyncio.CancelledError:
                self._tell(Withdraw(ticket))
                raise
        assert isinstance(answer, Examined)
        return answer

    async def _load_defaults(self) -> None:
        """The models that a fresh installation has, as far as they are here: nobody's first
        message waits for them. Raises EngineCrashed, EngineStopped."""
        for entry in self._store.catalogue.defaults():
            if self._store.state(entry.name)[0] != "ready":
                continue
            try:
                await self.codec(entry.name)
                await self._load(self._directory(entry.name))
            except (EngineCrashed, EngineStopped):
                raise
            except EngineError as error:  # said again to whoever asks for this model
                log.warning("model.invalid", model=entry.name, detail=error.message)

    async def _load(self, directory: Path) -> None:
        """Unless there is no room for it beside those that are there."""
        await self._ask(lambda ticket: Load(ticket, directory))

    def _names(self) -> dict[Path, tuple[str, ...]]:
        """What the models of the catalogue are called, by directory."""
        names: dict[Path, tuple[str, ...]] = {}
        for name in self._store.catalogue.entries:
            directory = self._directory(name)
            names[directory] = (*names.get(directory, ()), name)
        return names

    def _directory(self, model: str) -> Path:
        return self._store.directory(model).absolute()

    async def _ask(self, command: Callable[[int], Load | Unload | Look | Forget]) -> Report:
        with self._mailbox() as (ticket, mailbox):
            if not self._tell(command(ticket)):
                raise EngineStopped("The engine is not running.")
            try:
                answer = await mailbox.get()
            except asyncio.CancelledError:
                self._tell(Cancel(ticket, "", time.monotonic()))
                raise
        assert isinstance(answer, Report)
        return answer

    @contextmanager
    def _mailbox(self, take: Take | None = None) -> Iterator[tuple[int, Mailbox]]:
        ticket, mailbox = next(self._tickets), Mailbox(take)
        self._mailboxes[ticket] = mailbox
        try:
            yield ticket, mailbox
        finally:
            del self._mailboxes[ticket]

    def _deliver(self, delivery: Delivery) -> None:
        """On the event loop. What nobody reads any more is dropped."""
        for ticket, said in delivery:
            if isinstance(said, Report):
                self._loaded = {engine.directory for engine in said.engines}
            if mailbox := self._mailboxes.get(ticket):
                mailbox.put(said)

    def _fail_all(self, error: EngineError) -> None:
        """Whoever waits is told."""
        for mailbox in self._mailboxes.values():
            mailbox.put(error)
