"""Sessions and messages written straight into a SQLite file, as a site with a past has them."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


def connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=20)
    connection.execute("PRAGMA synchronous = OFF")  # a row at a time, and none of them precious
    return connection


class Rows:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.owner = ""

    def local_user(self) -> str:
        """The hex of the id of the one user of local mode, whom the first page has made."""
        row = self.connection.execute(
            "SELECT id FROM chat_user WHERE username = 'local'"
        ).fetchone()
        assert row is not None
        return str(row[0])

    def session(self, title: str, *, at: datetime | None = None, pinned: bool = False) -> uuid.UUID:
        name, time = uuid.uuid4(), _stored(at or datetime.now(UTC))
        values = {
            "id": name.hex,
            "owner_id": self.owner,
            "title": title,
            "model": "chat",
            "is_named": False,
            "pinned": pinned,
            "archived": False,
            "last_seq": 0,
            "created_at": time,
            "updated_at": time,
        }
        self._insert("chat_session", values)
        return name

    def message(
        self, session: uuid.UUID, role: str, content: str, *, parent: uuid.UUID | None = None
    ) -> uuid.UUID:
        name, time = uuid.uuid4(), _stored(datetime.now(UTC))
        values = {
            "id": name.hex,
            "session_id": session.hex,
            "parent_id": parent.hex if parent else None,
            "role": role,
            "content": content,
            "created_at": time,
            "shown_at": time,
        }
        self._insert("chat_message", values)
        text = {"session_id": session.hex, "message_id": name.hex, "text": content}
        self._insert("chat_searchtext", text)
        return name

    def _insert(self, table: str, values: Mapping[str, object]) -> None:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
        self.connection.execute(statement, list(values.values()))
        self.connection.commit()


def _stored(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
