"""Conversations that are in memory and nowhere else: no row, no file, no line of a log has a word
of them. One is gone when its page is closed, when nobody has been connected to it for a while, and
with the process."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from chat.errors import SessionNotFound
from chat.live import LiveTurn
from chat.outlet import Frame
from chat.prompt_selectors import PreviousTurn

AWAY_S = 900.0
"""How long one stays whose page has lost its connection."""
MOST_OF_ONE = 10
MOST_OF_ALL = 1000
"""Beyond these the one that was spoken in longest ago is dropped."""


@dataclass(eq=False, slots=True)
class TemporarySession:
    """settings: what the person chose for it. past: the frames of the turns that are over.
    client_ids: of the messages that were taken. before: the last turn's tokens. live, stream,
    ending: the turn that is under way, what it reads from the engine, and what waits for that to
    end. readers: pages that are connected to it."""

    owner_id: uuid.UUID
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    settings: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    past: list[Frame] = field(default_factory=list)
    client_ids: dict[str, int] = field(default_factory=dict)
    before: PreviousTurn | None = None
    last_message: uuid.UUID | None = None
    seq: int = 0
    live: LiveTurn | None = None
    stream: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    spoken_at: float = field(default_factory=time.monotonic)
    readers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """End the answer that is being written, if there is one."""
        if self.stream is not None:
            self.stream.cancel()

    def tell(self) -> None:
        """Readers that wait look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class TemporarySessions:
    """Those of this process, of all owners."""

    def __init__(self, *, away_s: float = AWAY_S) -> None:
        self._away_s = away_s
        self._all: dict[uuid.UUID, TemporarySession] = {}

    def __len__(self) -> int:
        return len(self._all)

    def knows(self, session_id: uuid.UUID | None) -> bool:
        return session_id in self._all

    def get(self, *, owner_id: uuid.UUID, session_id: uuid.UUID) -> TemporarySession:
        """Raises SessionNotFound, for another owner's too."""
        found = self._all.get(session_id)
        if found is None or found.owner_id != owner_id:
            raise SessionNotFound(session_id)
        return found

    def sent_before(self, *, owner_id: uuid.UUID, client_id: str) -> TemporarySession | None:
        """The one that has taken this message already: it is sent again after a lost connection."""
        mine = (each for each in self._all.values() if each.owner_id == owner_id)
        return next((each for each in mine if client_id in each.client_ids), None)

    def add(self, session: TemporarySession) -> None:
        self._all[session.id] = session
        mine = [each for each in self._all.values() if each.owner_id == session.owner_id]
        for group, most in ((mine, MOST_OF_ONE), ([*self._all.values()], MOST_OF_ALL)):
            if len(group) > most:
                self.forget(min(group, key=lambda each: each.spoken_at).id)

    def forget(self, session_id: uuid.UUID) -> None:
        """An answer that is being written is stopped."""
        session = self._all.pop(session_id, None)
        if session is None:
            return
        session.stop()
        session.tell()

    def left(self, *, owner_id: uuid.UUID, session_ids: Iterable[uuid.UUID]) -> None:
        """The owner has left the page that showed these."""
        for session_id in session_ids:
            found = self._all.get(session_id)
            if found is not None and found.owner_id == owner_id:
                self.forget(session_id)

    @contextmanager
    def reader(self, session: TemporarySession) -> Iterator[None]:
        """While a page is connected. Whoever does not come back in time finds nothing."""
        session.readers += 1
        try:
            yield
        finally:
            session.readers -= 1
            asyncio.get_running_loop().call_later(self._away_s, self._if_left, session)

    def _if_left(self, session: TemporarySession) -> None:
        if session.readers == 0:
            self.forget(session.id)

    async def close(self) -> None:
        """Drop them all."""
        tasks = [each.ending for each in self._all.values() if each.ending is not None]
        for session_id in list(self._all):
            self.forget(session_id)
        if tasks:
            await asyncio.wait(tasks)


@cache
def temporary_sessions() -> TemporarySessions:
    """This process's."""
    return TemporarySessions()
