"""Which named blocks of the KV cache are of which session: what is to be saved of it when it rests,
and what must not be found any more when it is deleted. No torch here.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from inference.kv_cache import KVCache

_FEW = 256  # sessions, of which none is worth looking for


@dataclass(slots=True)
class Remembered:
    """text: the names of the blocks of its last text, in order. saved: of those in its file, as far
    as is known here. names: of all blocks that it ever filled or found, as long as they are there.
    used: when it was last, on the monotonic clock."""

    text: list[bytes] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)
    names: set[bytes] = field(default_factory=set)
    used: float = 0.0


class SessionMemory:
    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._sessions: dict[str, Remembered] = {}
        self._sharers: Counter[bytes] = Counter()
        self._tidy_at = _FEW
        self.unsaved: set[str] = set()

    def __getitem__(self, session: str) -> Remembered:
        """Empty for one that is not known."""
        return self._sessions.get(session, Remembered())

    def remember(self, session: str, names: list[bytes]) -> None:
        """The names of the blocks of a text that the session has had."""
        its = self._sessions.setdefault(session, Remembered())
        its.text, its.used = names, time.monotonic()
        new = set(names) - its.names
        its.names |= new
        self._sharers.update(new)
        self.unsaved.add(session)
        if len(self._sessions) > self._tidy_at:
            self._tidy()

    def is_saved(self, session: str, names: list[bytes]) -> None:
        """These are in its file."""
        self._sessions.setdefault(session, Remembered()).saved = names

    def forget(self, session: str) -> None:
        """What no other session has, and nobody holds at this moment, is not found any more."""
        self.unsaved.discard(session)
        its = self._sessions.pop(session, None)
        if its:
            self._cache.forget(name for name in its.names if self._sharers[name] == 1)
            self._drop(its.names)

    def _drop(self, names: set[bytes]) -> None:
        for name in names:
            self._sharers[name] -= 1
            if not self._sharers[name]:
                del self._sharers[name]

    def _tidy(self) -> None:
        """Names that have left the cache need not be remembered; nor sessions without any."""
        for session, its in list(self._sessions.items()):
            if session in self.unsaved:
                continue
            gone = {name for name in its.names if not self._cache.has(name)}
            its.names -= gone
            self._drop(gone)
            if not its.names:
                del self._sessions[session]
        self._tidy_at = 2 * len(self._sessions) + _FEW
