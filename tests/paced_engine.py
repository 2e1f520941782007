"""An engine that writes to everyone at once, one piece for each stream and step, as fast as asked:
what is left to measure is the site.

`TINYLLM_ENGINE_FACTORY=tests.paced_engine.build`; BENCH_STEPS_PER_S says how fast (30).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

from inference.engine_commands import Cancel, Command, Delivery, Submit
from inference.mailbox_client import MailboxClient
from inference.types import (
    Delta,
    Finished,
    GenerateRequest,
    ModelInfo,
    ModelKind,
    SamplingParams,
    Timings,
)
from tests.fake_engine import END, ByteCodec

TEXT = """Here is how a **queue** of work is kept short. There are three things to do:

1. Measure how long each piece takes, on the machine that it will run on.
2. Find the slowest one, and ask whether it has to be done at all.
3. Only then make it faster: `cache` it, batch it, or move it elsewhere.

A small example says more than many words, so let us write one that counts the words of a text:

```python
def count(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in text.split():
        found[word] = found.get(word, 0) + 1
    return found
```

It reads each word once, and looks it up twice. For a long text that is *good enough*, and whoever
wants more takes a counter from the standard library, which does the same in compiled code.

"""
PIECES = TEXT.replace(" ", " \0").split("\0")


class PacedEngine(MailboxClient):
    """A thread in the engine's place. Its tokens are pieces of TEXT, over and over."""

    def __init__(self, steps_per_s: float) -> None:
        self._tickets, self._mailboxes = itertools.count(1), {}
        self._running: dict[int, list[Any]] = {}
        self._lock = threading.Lock()
        self._interval = 1 / steps_per_s
        self._codec = ByteCodec(ModelKind.CHAT, context_length=100_000)
        self._stopping = threading.Event()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stopping.set()

    async def _until_ready(self) -> None: ...

    def models(self) -> list[ModelInfo]:
        kind = ModelKind.CHAT
        return [
            ModelInfo("chat", "Paced", kind, ("en",), "MIT", "ready", defaults=SamplingParams())
        ]

    def defaults(self, model: str) -> SamplingParams:
        return SamplingParams()

    async def codec(self, model: str) -> Any:
        return self._codec

    def _directory(self, model: str) -> Path:
        return Path(model)

    async def saved_sessions(self) -> set[str]:
        return set()

    async def _forget(self, sessions: tuple[str, ...]) -> None: ...

    def _tell(self, command: Command) -> bool:
        with self._lock:
            if isinstance(command, Submit):
                self._running[command.ticket] = [command.request, 0, 0, time.monotonic()]
            elif isinstance(command, Cancel):
                self._running.pop(command.ticket, None)
        return True

    def _run(self) -> None:
        at = time.monotonic()
        while not self._stopping.is_set():
            at = max(at + self._interval, time.monotonic() - 1)
            time.sleep(max(0.0, at - time.monotonic()))
            assert self._loop is not None
            if delivery := self._step():
                self._loop.call_soon_threadsafe(self._deliver, delivery)

    def _step(self) -> Delivery:
        delivery: Delivery = []
        with self._lock:
            for ticket, state in list(self._running.items()):
                request, count, length, began = state
                piece = PIECES[count % len(PIECES)]
                delivery.append((ticket, Delta(piece, (count % 200,), (length,))))
                state[1:3] = count + 1, length + len(piece)
                if count + 1 == (request.sampling.max_tokens or 100):
                    del self._running[ticket]
                    delivery.append((ticket, self._finished(request, count + 1, began)))
        return delivery

    @staticmethod
    def _finished(request: GenerateRequest, count: int, began: float) -> Finished:
        decode = time.monotonic() - began
        timings = Timings(queue_s=0.0, prefill_s=0.0, decode_s=decode)
        return Finished("length", len(request.prompt_ids), count, 0, END, timings)


def build() -> PacedEngine:
    return PacedEngine(float(os.environ.get("BENCH_STEPS_PER_S", "30")))
