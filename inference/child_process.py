"""The site's hold on one engine process: start it, write to it, hear it, see it end. No torch."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.engine_wire import Begin, Unpacker, pack

_ROOT = Path(__file__).resolve().parents[1]
_MODULE = "inference.engine_child"
_STDERR = 2


class ChildProcess:
    """Made by `start`. Whoever has one ends it with `end`, whatever became of it."""

    def __init__(self, process: Process, line: _Line) -> None:
        self._process, self._line = process, line

    @classmethod
    async def start(cls, begin: Begin, hear: Callable[[Any], None]) -> ChildProcess:
        """hear: called on the event loop with each message. Raises OSError."""
        first, line = pack(begin), _Line(hear)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE, str(theirs.fileno())),
                stdin=DEVNULL,
                stdout=_STDERR,  # what a library prints belongs to the log
                cwd=_ROOT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # out of reach of the terminal's Ctrl+C
            )
            try:
                loop = asyncio.get_running_loop()
                await loop.create_unix_connection(lambda: line, sock=ours.dup())
            except BaseException:
                process.kill()
                await process.wait()
                raise
        line.transport.write(first)
        return cls(process, line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_open(self) -> bool:
        return not self._line.closed.is_set()

    def tell(self, message: object) -> bool:
        """Never waits. False: there is nobody at the other end any more."""
        if self.is_open:
            self._line.transport.write(pack(message))
        return self.is_open

    async def until_closed(self) -> None:
        """Until it has said its last word: it has ended, or is about to."""
        await self._line.closed.wait()

    async def exit_status(self, *, within_s: float) -> int | None:
        """None: it has not ended by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._process.wait()
        return None

    async def end(self) -> int:
        """Returns its exit status when it is gone, by force if need be."""
        self._line.transport.abort()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        return await self._process.wait()


class _Line(asyncio.Protocol):
    """Our end of the socket."""

    transport: asyncio.WriteTransport

    def __init__(self, hear: Callable[[Any], None]) -> None:
        self._hear, self._unpacker = hear, Unpacker()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            self._hear(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


def in_words(status: int | None) -> str:
    """How a process ended, for people."""
    if status is None:
        return "its process stopped answering"
    if status < 0:
        return f"its process was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"its process ended with status {status}"
