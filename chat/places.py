"""Answers that are being written without a row (calls of /v1/, temporary sessions), by owner: they
count against the answers at once as rows do (`chat.usage`). Of this process, and gone with it, as
the answers are."""

from __future__ import annotations

import threading
import uuid
from collections import Counter


class Places:
    def __init__(self) -> None:
        self._held: Counter[uuid.UUID] = Counter()
        self._lock = threading.Lock()

    def held(self, owner_id: uuid.UUID) -> int:
        return self._held[owner_id]

    def take(self, owner_id: uuid.UUID, answers: int = 1) -> None:
        with self._lock:
            self._held[owner_id] += answers

    def give(self, owner_id: uuid.UUID, answers: int = 1) -> None:
        with self._lock:
            self._held[owner_id] -= answers
            if not self._held[owner_id]:
                del self._held[owner_id]


places = Places()
