"""The engine in a process of its own: `python -m inference.engine_child FD`, where FD is its end of
a socket to the site. Started by `inference.engine_process`; knows nothing of the site.

Three threads: the engine worker computes; one obeys what comes in, and ends the process when
nobody is left at the other end; one sends. So a step never waits for the site.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from inference.engine_commands import Delivery, Said
from inference.engine_wire import DEVICE_LOST, Begin, Farewell, Unpacker, pack
from inference.errors import DeviceLost
from inference.interpreter import serve_many
from inference.mailbox import join
from inference.options import EngineOptions
from inference.types import ModelKind

if TYPE_CHECKING:
    from inference.client import PromptCodec
    from inference.engine_worker import EngineWorker

log = structlog.get_logger(__name__)

FAILED = 1
FEW = 4
"""Events that are sent by the thread that computes: it takes less than waking another."""
_RECEIVE_BYTES = 1 << 16


class Outbox:
    """What waits to be sent. A little goes out at once, as a first token does; while the socket is
    full, what is said to a reader is joined. The farewell overtakes all of it: nobody is to ask for
    more while the last words are read."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._waiting: dict[int, deque[Said]] = {}
        self._begun = b""  # the rest of a message that is half sent
        self._farewell: Farewell | None = None
        self._is_sending, self._closing, self._changed = False, False, threading.Condition()
        self._thread = threading.Thread(target=self._send, name="sender", daemon=True)
        self._thread.start()

    def put(self, delivery: Delivery) -> None:
        """Never waits."""
        with self._changed:
            is_free = not (self._waiting or self._begun or self._is_sending or self._farewell)
            if is_free and len(delivery) <= FEW:
                self._begun = self._send_now(pack(delivery))
                if not self._begun:
                    return
            else:
                for ticket, said in delivery:
                    join(self._waiting.setdefault(ticket, deque()), said)
            self._changed.notify()

    def bid_farewell(self, reason: str) -> None:
        with self._changed:
            self._farewell = Farewell(reason)
            self._changed.notify()

    def close(self) -> None:
        """Returns when everything has been sent, or cannot be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _send_now(self, data: bytes) -> bytes:
        """As much as the socket takes. Returns the rest."""
        try:
            return data[self._line.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data
        except OSError:
            _leave(FAILED)  # nobody is at the other end

    def _send(self) -> None:
        try:
            while data := self._take():
                self._line.sendall(data)
        except OSError:
            _leave(FAILED)
        except Exception:
            log.exception("engine.sender_died")
            _leave(FAILED)

    def _take(self) -> bytes:
        """All that waits, once something does; nothing when it is time to end."""
        with self._changed:
            self._is_sending = False
            self._changed.wait_for(
                lambda: self._begun or self._waiting or self._farewell or self._closing
            )
            begun, self._begun = self._begun, b""
            waiting, self._waiting = self._waiting, {}
            farewell, self._farewell = self._farewell, None
            self._is_sending = True
        delivery = [(ticket, said) for ticket, all_said in waiting.items() for said in all_said]
        return begun + b"".join(pack(message) for message in (farewell, delivery) if message)


def main() -> None:
    # The site alone says when to end: a terminal or a service manager signals every process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    serve_many()
    line = socket.socket(fileno=int(sys.argv[1]))
    outbox = Outbox(line)
    try:
        failure = _work(line, outbox)
    except Exception as error:
        log.exception("engine.died")
        outbox.bid_farewell(_reason(error))
        failure = error
    outbox.close()
    _leave(DEVICE_LOST if isinstance(failure, DeviceLost) else FAILED if failure else 0)


def _work(line: socket.socket, outbox: Outbox) -> Exception | None:
    """Returns when the worker has ended: why, if it was not told to."""
    messages = _messages(line)
    begin = next(messages)
    assert isinstance(begin, Begin)
    if begin.prepare:
        begin.prepare()
    worker = _worker(begin.options, outbox)
    worker.start()
    threading.Thread(target=_obey, args=(messages, worker), name="commands", daemon=True).start()
    worker.join()
    return worker.failure


def _reason(failure: Exception) -> str:
    if isinstance(failure, DeviceLost):
        return str(failure.fields["reason"])
    return f"{type(failure).__name__}: {failure}"


def _messages(line: socket.socket) -> Iterator[Any]:
    """What the site sends. When it closes its end, or dies, this process ends."""
    unpacker = Unpacker()
    with suppress(ConnectionError):
        while piece := line.recv(_RECEIVE_BYTES):
            yield from unpacker.feed(piece)
    _leave(0)


def _worker(options: EngineOptions, outbox: Outbox) -> EngineWorker:
    # Imported late, so that a process that nobody wants any more has not read torch for nothing.
    from inference.engine_worker import EngineWorker
    from inference.kv_files import kv_files
    from inference.loading import load_codec
    from inference.model_loader import ModelLoader

    def codec(directory: Path) -> PromptCodec:
        # Only to decode: whoever makes prompts has the template.
        return load_codec(directory, ModelKind.COMPLETION, options)

    return EngineWorker(
        {},
        loader=ModelLoader(options, codec, kv_files(options)),
        deliver=outbox.put,
        farewell=lambda failure: outbox.bid_farewell(_reason(failure)),
    )


def _obey(messages: Iterator[Any], worker: EngineWorker) -> None:
    try:
        for command in messages:
            worker.tell(command)
    except Exception:
        log.exception("engine.receiver_died")
        _leave(FAILED)


def _leave(status: int) -> NoReturn:
    """At once: a thread inside a kernel or a library's last wishes must not hold the process."""
    os._exit(status)


if __name__ == "__main__":
    main()
