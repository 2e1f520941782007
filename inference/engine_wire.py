"""Messages between the site's process and the engine's, over one socket. No torch here.

A message is a pickled object with its length in front. Both ends are our own, and the socket has
no name that anyone else could connect to.

To the engine: `Begin`, then commands. To the site: deliveries, and a `Farewell` before the last one
where something broke.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from inference.options import EngineOptions
from inference.types import Delta

DEVICE_LOST = 3
"""Exit status of an engine process whose GPU refuses all further work."""

_LENGTH = struct.Struct(">I")
_new = tuple.__new__


@dataclass(frozen=True, slots=True)
class Begin:
    """prepare: called in the new process before anything else."""

    options: EngineOptions
    prepare: Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why the process will end. Only what it owes its readers follows."""

    reason: str


def pack(message: object) -> bytes:
    """A delivery's deltas travel as plain tuples: pickle would call back into Python for each of
    these, at both ends, and hundreds come at a time."""
    if isinstance(message, list):
        message = [(t, tuple(said) if type(said) is Delta else said) for t, said in message]
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


def _unpacked(body: bytes) -> Any:
    message = pickle.loads(body)  # noqa: S301 - see above
    if isinstance(message, list):
        return [(t, _new(Delta, said) if type(said) is tuple else said) for t, said in message]
    return message


class Unpacker:
    """Puts messages together again from pieces of any size."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Every message that this piece completes."""
        self._pieces += piece
        while len(self._pieces) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._pieces)[0]
            if len(self._pieces) < end:
                return
            body = bytes(self._pieces[_LENGTH.size : end])
            del self._pieces[:end]
            yield _unpacked(body)
