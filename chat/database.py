"""Database work for the event loop, on a few threads of its own.

Channels' own helper shares one thread among all sockets: there, one locked write stalls everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="chat-db")


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a service or a selector in a database thread, with the caller's context variables.

    The threads keep their connections: opening one costs more than most queries. One that
    reported an error is closed, and the next call opens it afresh.
    """

    def call() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            if connection.errors_occurred:
                connection.close()

    return await sync_to_async(call, thread_sensitive=False, executor=_pool())()


def close() -> None:
    """End the threads, and with them their connections; the next call starts afresh."""
    _pool().shutdown()
    _pool.cache_clear()
