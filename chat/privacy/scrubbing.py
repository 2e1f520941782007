"""Deleted text leaves its bytes behind: in SQLite's free pages, in its write-ahead log and in the
search index, and in PostgreSQL's dead rows. This takes them out.

https://sqlite.org/lang_vacuum.html, https://sqlite.org/pragma.html#pragma_wal_checkpoint,
https://sqlite.org/fts5.html#the_optimize_command
"""

from __future__ import annotations

import time

from django.db import connection
from django.db.backends.utils import CursorWrapper

TRIES = 50
PAUSE_S = 0.1
"""A reader that is in the middle of something keeps an old state of the file alive."""


def scrub() -> bool:
    """Rewrites the whole database: takes as long, and as much room on the disk, as a copy of it.
    Returns whether everything is gone. Outside a transaction."""
    with connection.cursor() as cursor:
        if connection.vendor != "sqlite":
            cursor.execute("VACUUM")
            return True
        # The index keeps the terms of what was deleted until its parts are merged.
        cursor.execute("INSERT INTO chat_search(chat_search) VALUES ('optimize')")
        cursor.execute("VACUUM")
        return any(_is_log_empty(cursor) for _ in range(TRIES))


def _is_log_empty(cursor: CursorWrapper) -> bool:
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    busy, *_ = cursor.fetchone()
    if busy:
        time.sleep(PAUSE_S)
    return not busy
