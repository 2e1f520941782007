"""What an engine does for sessions beyond one request: their text is saved when they rest, loaded
when they come again, and not found any more when they are deleted."""

from __future__ import annotations

from collections import Counter

from inference.kv_cache import KVCache
from inference.kv_files import ModelFiles
from inference.kv_loader import Loader
from inference.kv_saver import Saver
from inference.runner import Runner
from inference.sequence import Sequence
from inference.session_memory import SessionMemory

_WAIT_S = 0.01  # for a file, where there is nothing to compute


class SessionCache:
    """Belongs to the engine's thread, as the cache does."""

    def __init__(
        self, cache: KVCache, runner: Runner, files: ModelFiles | None, idle_s: float
    ) -> None:
        """files: None where nothing is kept on disk. idle_s: how long a session rests before it is
        saved."""
        self._memory = SessionMemory(cache)
        self._saver = Saver(cache, runner, files, self._memory, idle_s) if files else None
        self._loader = Loader(cache, runner, files, self._memory) if files else None
        self._in_flight: Counter[str] = Counter()
        self._deleted: set[str] = set()  # of those in flight

    def enter(self, sequence: Sequence) -> None:
        """A request was queued."""
        session = sequence.request.session
        if session:
            self._in_flight[session] += 1
            if self._loader:
                self._loader.expect(sequence, session)

    def load(self) -> None:
        """Before each step: a piece of what is awaited from disk. Raises DeviceLost."""
        if self._loader:
            self._loader.load()

    def wait(self) -> None:
        """Where a step has nothing to compute: a moment, if a file is being read."""
        if self._loader:
            self._loader.wait(_WAIT_S)

    def leave(self, sequence: Sequence, *, spoilt: bool) -> None:
        """A request is over, and has given its blocks back. spoilt: they are of no use."""
        session = sequence.request.session
        if not session:
            return
        if self._loader:
            self._loader.drop(sequence)
        if not spoilt:
            self._memory.remember(session, sequence.names)
        self._in_flight[session] -= 1
        is_last = not self._in_flight[session]
        if is_last:
            del self._in_flight[session]
        if session in self._deleted:
            self._memory.forget(session)
            if is_last:
                self._deleted.discard(session)

    def forget(self, session: str) -> None:
        """The session was deleted: nothing of it is saved any more, and none of its blocks found
        that no other session has. Its file is removed by who owns the files."""
        if self._saver:
            self._saver.drop(session)
        self._memory.forget(session)
        if session in self._in_flight:
            self._deleted.add(session)

    def rest(self) -> float | None:
        """A piece of what waits for an idle moment. Returns the seconds until there is more of it,
        None where there is nothing. Raises DeviceLost."""
        return self._saver.rest() if self._saver else None

    def save(self, within_s: float) -> None:
        """All sessions that are not on disk yet, before the engine ends or its model is unloaded;
        those that were used last come first. Raises DeviceLost."""
        if self._saver:
            self._saver.save_all(within_s)
