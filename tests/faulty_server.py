"""For `TINYLLM_ENGINE_FACTORY`: a served site whose engine is a process of its own, and whose disk
is full while the file `full` is in its data folder.

Full means SQLite's own SQLITE_FULL, from its limit on the pages of the file: it needs no rights, as
mounting a small disk would.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.client import EngineClient
from tests import process_engine

SPARE_PAGES = 3
NO_LIMIT = 2**31 - 2


class Disk:
    """A limit is a connection's own: it is set before each statement that finds another one."""

    def __init__(self, mark: Path) -> None:
        self._mark, self._limited = mark, False

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        full = self._mark.exists()
        if full != self._limited:
            self._limited = full
            cursor = arguments[-1]["connection"].connection.cursor()
            (pages,) = cursor.execute("PRAGMA page_count").fetchone()
            limit = pages + SPARE_PAGES if full else NO_LIMIT
            cursor.execute(f"PRAGMA max_page_count={limit}").fetchone()
            cursor.close()
        return execute(*arguments)


def build() -> EngineClient:
    from django.conf import settings
    from django.db import connections
    from django.db.backends.signals import connection_created

    def watch(connection: Any, **kwargs: Any) -> None:
        connection.execute_wrappers.append(Disk(settings.TINYLLM_DATA_DIR / "full"))

    connections.close_all()
    connection_created.connect(watch, weak=False)
    return process_engine.build()
