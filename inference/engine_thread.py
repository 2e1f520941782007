"""The engine on a thread of the server's own process: `EngineClient` over an `EngineWorker`.

Commands go to the thread through a queue, events come back to the event loop in one call for
each step. Tokens wait in the request's mailbox: the engine never waits for a reader.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from inference.client import PromptCodec
from inference.engine import Engine
from inference.engine_commands import Command, Delivery, Stop
from inference.engine_worker import EngineWorker
from inference.errors import EngineStopped
from inference.kv_files import kv_files
from inference.mailbox_client import MailboxClient
from inference.model_loader import ModelLoader
from inference.model_store import ModelStore
from inference.options import EngineOptions


class EngineThread(MailboxClient):
    """See `inference.client.EngineClient`. All methods belong to one event loop."""

    def __init__(self, store: ModelStore, options: EngineOptions) -> None:
        super().__init__(store, options)
        self._engines: dict[Path, Engine] = {}
        self._decoders: dict[Path, PromptCodec] = {}
        self._worker: EngineWorker | None = None

    async def start(self) -> None:
        """Ready when the default models are loaded."""
        self._engines = {}
        loop = self._loop = asyncio.get_running_loop()

        def deliver(delivery: Delivery) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._deliver, delivery)

        self._worker = EngineWorker(
            self._engines,
            loader=ModelLoader(self._options, self._decoders.__getitem__, kv_files(self._options)),
            deliver=deliver,
        )
        self._worker.start()
        await self._load_defaults()

    async def stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.tell(Stop())
            await asyncio.to_thread(worker.join)

    def engines(self) -> list[Engine]:
        """The engines that are loaded, to be looked at while the thread is idle or stopped."""
        return list(self._engines.values())

    async def codec(self, model: str) -> PromptCodec:
        codec = await super().codec(model)
        self._decoders.setdefault(self._directory(model), codec)
        return codec

    async def unload(self, model: str) -> None:
        await super().unload(model)
        self._decoders.pop(self._directory(model), None)

    async def _until_ready(self) -> None:
        if self._worker is None or not self._worker.is_alive():
            raise EngineStopped("The engine is not running.")

    def _tell(self, command: Command) -> bool:
        return self._worker is not None and self._worker.tell(command)
