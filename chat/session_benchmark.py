"""How long a person with a million messages waits for the list, a page and a search.

The database is a file of its own, filled by bulk inserts with what the site's own tables hold.
"""

from __future__ import annotations

import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.test import Client

from chat.identity import local_user
from chat.search import search
from chat.session_pages import session_page
from chat.user_keys import in_sql

PER_SESSION = 50
RUNS = 15
_WORDS = [
    *("river", "bread", "window", "answer", "small", "letter", "garden", "number", "morning"),
    *("yellow", "stone", "music", "paper", "kitchen", "reason", "simple", "travel", "winter"),
    *("model", "question", "bridge", "summer", "teacher", "market"),
]
_CHINESE = "今天我们可以先做一碗面条然后去河边走走看看春天的花开了没有再回来读书写字喝茶"
RARE = "quicksilver"
"""Stands in one message of a hundred thousand, and 鑫 beside it."""


def fill(messages: int, tell: Callable[[str], None]) -> None:
    """Sessions of PER_SESSION messages each, the newest last, through the triggers of the index."""
    owner = in_sql(local_user().pk)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    draw = random.Random(1)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = OFF")
        # More is gathered before it is written; the index becomes the same.
        cursor.execute("INSERT INTO chat_search(chat_search, rank) VALUES ('hashsize', 67108864)")
    for number, some in enumerate(_batches(range(messages // PER_SESSION), 1000)):
        with transaction.atomic(), connection.cursor() as cursor:
            for index in some:
                _session(cursor, owner, index, begin + timedelta(seconds=20 * index), draw)
        if number % 4 == 0:
            tell(f"{(some[-1] + 1) * PER_SESSION} messages")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _batches(numbers: range, size: int) -> Iterator[range]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


def _session(cursor: Any, owner: str, index: int, at: datetime, draw: random.Random) -> None:
    name, time_ = uuid.UUID(int=draw.getrandbits(128)).hex, at.strftime("%Y-%m-%d %H:%M:%S.%f")
    cursor.execute(
        "INSERT INTO chat_session (id, owner_id, title, model, is_named, pinned, archived,"
        " last_seq, created_at, updated_at) VALUES (%s, %s, %s, 'chat', 0, %s, 0, 0, %s, %s)",
        [name, owner, _text(draw, 5), index % 4000 == 0, time_, time_],
    )
    rows: list[tuple[str | None, ...]] = []
    parent: str | None = None
    for number in range(PER_SESSION):
        own = uuid.UUID(int=draw.getrandbits(128)).hex
        rare = f" {RARE} 鑫" if (index * PER_SESSION + number) % 100_000 == 7 else ""
        role = "assistant" if number % 2 else "user"
        rows.append((own, name, parent, role, _text(draw, 8) + rare, time_, time_))
        parent = own
    cursor.executemany(
        "INSERT INTO chat_message (id, session_id, parent_id, role, content, created_at, shown_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        rows,
    )
    cursor.executemany(
        "INSERT INTO chat_searchtext (session_id, message_id, text) VALUES (%s, %s, %s)",
        [(name, row[0], row[4]) for row in rows],
    )


def _text(draw: random.Random, words: int) -> str:
    start = draw.randrange(len(_CHINESE) - 8)
    return " ".join(draw.choices(_WORDS, k=words)) + " " + _CHINESE[start : start + 8]


def measured() -> dict[str, dict[str, float]]:
    """Milliseconds: the median and the longest of RUNS."""
    owner = local_user().id
    client = Client(headers={"host": "localhost"})
    half = session_page(owner_id=owner, limit=200)
    for _ in range(20):
        half = session_page(owner_id=owner, limit=200, before=half[-1].position)
    deep = half[-1].position
    works: dict[str, Callable[[], Any]] = {
        "page with the list": lambda: client.get("/"),
        "first page of the list": lambda: session_page(owner_id=owner),
        "page behind 4,200 sessions": lambda: session_page(owner_id=owner, before=deep),
    }
    for name, query in (
        ("a common word", "garden"),
        ("a rare word", RARE),
        ("two common characters", "面条"),
        ("one common character", "面"),
        ("one rare character", "鑫"),
        ("a word that is nowhere", "zzyzx"),
        ("two characters that are nowhere", "zz"),
    ):
        works[f"search: {name}"] = partial(search, owner_id=owner, query=query)
    return {name: _times(work) for name, work in works.items()}


def _times(work: Callable[[], Any]) -> dict[str, float]:
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return {"median_ms": round(statistics.median(times), 2), "max_ms": round(max(times), 2)}
