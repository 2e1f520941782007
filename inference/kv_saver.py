"""Saves what the KV cache holds of sessions that rest: while the engine has nothing else to do, a
piece at a time, so that a request that comes waits for one piece at most."""

from __future__ import annotations

import time
from dataclasses import dataclass

from inference.kv_cache import KVCache
from inference.kv_files import ModelFiles
from inference.kv_writing import Writing
from inference.runner import Runner
from inference.session_memory import SessionMemory

PIECE_BYTES = 8 << 20
_POLL_S = 0.002  # while a piece is on its way to the disk


def piece_blocks(files: ModelFiles) -> int:
    return max(1, PIECE_BYTES // files.block_bytes)


@dataclass(slots=True)
class _Save:
    """done: how many of the blocks have been handed to the disk."""

    session: str
    names: list[bytes]
    writing: Writing
    done: int = 0


class Saver:
    def __init__(
        self,
        cache: KVCache,
        runner: Runner,
        files: ModelFiles,
        memory: SessionMemory,
        idle_s: float,
    ) -> None:
        """idle_s: how long a session rests before it is saved."""
        self._cache, self._runner, self._files = cache, runner, files
        self._memory, self._idle_s = memory, idle_s
        self._save: _Save | None = None

    def rest(self) -> float | None:
        """Do one piece of what is due. Returns the seconds until there is more, None where there is
        nothing."""
        if self._save is None:
            oldest = min(self._memory.unsaved, key=self._used, default=None)
            if oldest is None:
                return None
            pause = self._memory[oldest].used + self._idle_s - time.monotonic()
            if pause > 0:
                return pause
            self._begin(oldest)
        elif self._save.writing.is_ready:
            self._go_on(self._save)
        else:
            return _POLL_S
        return 0.0

    def save_all(self, within_s: float) -> None:
        """Whether they rest or not, who was here last first; as many as there is time for."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if self._save is None:
                newest = max(self._memory.unsaved, key=self._used, default=None)
                if newest is None:
                    return
                self._begin(newest)
            else:
                self._save.writing.wait()
                self._go_on(self._save)
        self._abort()

    def drop(self, session: str) -> None:
        """When this returns, the save that is under way will leave no file."""
        if self._save and self._save.session == session:
            self._abort()

    def _used(self, session: str) -> float:
        return self._memory[session].used

    def _begin(self, session: str) -> None:
        self._memory.unsaved.discard(session)
        its = self._memory[session]
        count = min(len(self._cache.find(its.text)), self._files.most_blocks)
        if its.text[:count] == its.saved[:count]:
            return  # the file has as much, or more
        used = time.time() - (time.monotonic() - its.used)
        writing = self._files.write(session, its.text[:count], used)
        self._save = _Save(session, its.text[:count], writing)

    def _go_on(self, save: _Save) -> None:
        if save.writing.is_over:
            if save.writing.is_saved:
                self._memory.is_saved(save.session, save.names)
            self._save = None
            return
        names = save.names[save.done : save.done + piece_blocks(self._files)]
        if not names:
            save.writing.finish()
            return
        blocks = self._cache.find(names)
        if len(blocks) == len(names):
            save.writing.append(self._runner.read_blocks(blocks))
            save.done += len(names)
        else:  # room was needed meanwhile: what is left is saved another time
            self._abort()
            self._memory.unsaved.add(save.session)

    def _abort(self) -> None:
        if self._save:
            self._save.writing.abort()
            self._save = None
