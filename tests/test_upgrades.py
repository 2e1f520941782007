"""A site that goes on from an earlier version keeps every row.

`tests/databases/` holds what sites of earlier versions left behind, written by their own code: two
turns, an answer that was stopped and continued, a story that failed, an administrator; in later
ones also whatever tables there were by then. A new one is added when a version is released, none is
changed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import ServerProcess

VERSIONS = sorted((Path(__file__).parent / "databases").glob("*.sql"))
OURS = "chat_"
MESSAGES = "chat_message"
BOOKKEEPING = ("chat_search",)
"""Tables that a migration may fill anew."""


def rows_of(connection: sqlite3.Connection) -> dict[tuple[str, Any], dict[str, Any]]:
    """Every row of our tables by table and key, as its columns' values."""
    connection.row_factory = sqlite3.Row
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = [name for (name,) in names if name.startswith(OURS)]
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for table in (name for name in tables if not name.startswith(BOOKKEEPING)):
        for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
            values = {key: row[key] for key in row.keys()}  # noqa: SIM118
            found[table, values["id" if "id" in values else "name"]] = values
    return found


def column(connection: sqlite3.Connection, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query)]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)
def test_every_row_is_kept(version: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection:
        connection.executescript(version.read_text())
        before = rows_of(connection)
        assert {table for table, _ in before} >= {"chat_message", "chat_generation", "chat_event"}
        answer = ServerProcess(tmp_path).manage("migrate", "--noinput")
        assert answer.returncode == 0, answer.stderr
        after = rows_of(connection)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        found = dict(connection.execute("SELECT message_id, text FROM chat_searchtext"))
        logged = column(connection, "SELECT object_repr FROM django_admin_log")
        factors = column(connection, "SELECT data FROM mfa_authenticator")
    for key, values in before.items():
        assert {name: after[key][name] for name in values} == values
    # neither a title in the admin's log nor the secret of a second factor is left
    assert "secret" not in str(logged)
    assert not [data for data in factors if '"JBSW' in data or '"5d1f' in data]
    # what the search finds messages by was made of old ones too; names of files come after
    messages = {key: row["content"] for (table, key), row in before.items() if table == MESSAGES}
    texts = {key: text for key, text in messages.items() if text}
    assert {key: text.partition("\n")[0] for key, text in found.items()} == texts
