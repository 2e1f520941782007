"""Database work for the event loop, on a few threads of its own.

Channels' own helper shares one thread among all sockets: there, one locked write stalls everyone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import translation

from chat.tracing.recorder import DATABASE, span

P = ParamSpec("P")
R = TypeVar("R")

_opened: set[BaseDatabaseWrapper] = set()


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4, thread_name_prefix="chat-db", initializer=_note_connection)


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4, thread_name_prefix="chat-db-write", initializer=_note_connection)


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a selector in a database thread, with the caller's context variables and language.

    The threads keep their connections: opening one costs more than most queries. One that
    reported an error is closed, and the next call opens it afresh.
    """
    return await _run(_readers(), function, *args, **kwargs)


async def write_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a service likewise. Its threads are others: while the database is locked they all may
    wait, and whoever only reads must not wait behind them."""
    return await _run(_writers(), function, *args, **kwargs)


async def _run(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    # The language is in a variable that asgiref shows to its own threads only.
    language = translation.get_language()

    def call() -> R:
        try:
            with translation.override(language):
                return function(*args, **kwargs)
        finally:
            if connection.errors_occurred:
                connection.close()

    # asgiref's own hop also brings changed variables back, which nobody here needs.
    context = contextvars.copy_context()
    with span(getattr(function, "__name__", "query").strip("<>"), DATABASE):
        return await asyncio.get_running_loop().run_in_executor(pool, context.run, call)


def close() -> None:
    """End the threads and close their connections; the next call starts afresh."""
    for pool in (_readers, _writers):
        pool().shutdown()
        pool.cache_clear()
    with ThreadPoolExecutor(1) as last:  # Django closes none where an event loop runs
        last.submit(_close_left).result()


def _note_connection() -> None:
    """Of the thread that begins here."""
    _opened.add(connections["default"])


def _close_left() -> None:
    while _opened:
        left = _opened.pop()
        left.inc_thread_sharing()  # its own thread is gone
        left.close()
