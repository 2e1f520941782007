"""Brings the beginning of a request's text back from its session's file.

The request is admitted like any other, and what it holds is filled from the file instead of being
computed: a piece before each step, while another thread reads the next one. What has been filled is
named, so others find it too. Wherever the file ends or is damaged, the rest is computed.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

import structlog

from inference.errors import DeviceLost
from inference.kv_cache import BLOCK_SIZE, KVCache, findable, names_of
from inference.kv_files import ModelFiles, SavedText
from inference.kv_saver import piece_blocks
from inference.kv_writing import Array
from inference.runner import Runner
from inference.sequence import Sequence
from inference.session_memory import SessionMemory

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Load:
    """saved: the open file. count: how many blocks of it are of use. piece: of `length` blocks from
    the first-th on, being read."""

    sequence: Sequence
    session: str
    opening: Future[SavedText | None]
    saved: SavedText | None = None
    count: int = 0
    first: int = 0
    length: int = 0
    piece: Future[Array | None] | None = None


class Loader:
    def __init__(
        self, cache: KVCache, runner: Runner, files: ModelFiles, memory: SessionMemory
    ) -> None:
        self._cache, self._runner, self._files, self._memory = cache, runner, files, memory
        self._loads: dict[Sequence, _Load] = {}

    def expect(self, sequence: Sequence, session: str) -> None:
        """A request that will wait for its turn: if its session's file goes further than the cache,
        it is loaded."""
        if not self._files.exists(session):
            return
        names, saved = names_of(sequence), self._memory[session].saved
        known = len(self._cache.find(names))
        if known < findable(sequence) and (not saved or common(names, saved) > known):
            sequence.loading = True
            self._loads[sequence] = _Load(sequence, session, self._files.open(session))

    def load(self) -> None:
        """One piece, of whoever came first and has it there. Raises DeviceLost."""
        for load in list(self._loads.values()):
            if self._advance(load):
                return

    def wait(self, within_s: float) -> None:
        """Until there is something to load, where somebody has been admitted who waits for it."""
        admitted = [load for load in self._loads.values() if load.sequence.blocks]
        if admitted:
            wait(_awaited(admitted), within_s, FIRST_COMPLETED)

    def drop(self, sequence: Sequence) -> None:
        """It is over, or goes on by being computed."""
        sequence.loading = False
        load = self._loads.pop(sequence, None)
        if load:
            load.opening.add_done_callback(_close)

    def _advance(self, load: _Load) -> bool:
        """Whether a piece was brought to the device."""
        sequence = load.sequence
        if load.saved is None and not self._is_open(load):
            return False
        known = len(self._cache.find(names_of(sequence)))
        first = sequence.computed // BLOCK_SIZE if sequence.blocks else known
        if first >= load.count:
            self.drop(sequence)
        elif load.piece is None or load.first != first:
            self._read(load, first)
        elif sequence.blocks and load.piece.done():
            data = _result(load.piece)
            if data is None:
                self.drop(sequence)
            else:
                self._fill(load, data)
                return True
        return False

    def _is_open(self, load: _Load) -> bool:
        if not load.opening.done():
            return False
        load.saved = _result(load.opening)
        if load.saved is None:
            self.drop(load.sequence)
            return False
        load.count = common(names_of(load.sequence), load.saved.names)
        self._memory.is_saved(load.session, load.saved.names)
        return True

    def _read(self, load: _Load, first: int) -> None:
        assert load.saved is not None
        load.first, load.length = first, min(piece_blocks(self._files), load.count - first)
        load.piece = load.saved.read(first, load.length) if load.length > 0 else None

    def _fill(self, load: _Load, data: Array) -> None:
        sequence = load.sequence
        blocks = sequence.blocks[load.first : load.first + load.length]
        self._read(load, load.first + load.length)
        try:
            self._runner.write_blocks(blocks, data)
        except DeviceLost:
            raise
        except Exception:
            log.exception("kv.not_loaded", session=load.session)
            self.drop(sequence)
            return
        sequence.computed += len(blocks) * BLOCK_SIZE
        if not sequence.output_length:
            sequence.cached = sequence.computed
        self._cache.publish(sequence)
        if load.piece is None:
            self.drop(sequence)


def common(names: list[bytes], others: list[bytes]) -> int:
    """How many there are alike, from the beginning on."""
    pairs = zip(names, others, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _awaited(loads: list[_Load]) -> list[Future[Any]]:
    return [load.piece or load.opening for load in loads]


def _close(opening: Future[SavedText | None]) -> None:
    saved = _result(opening)
    if saved:
        saved.close()


def _result(future: Future[T]) -> T | None:
    """None where it failed in a way that nobody thought of."""
    try:
        return future.result()
    except Exception:
        log.exception("kv.not_read")
        return None
