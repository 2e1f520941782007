"""The database locked, full or dead in the middle of an answer: text flows, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils import timezone

from chat import database, event_rows
from chat.database import in_database
from chat.errors import MAX_TEXT, StorageFailed
from chat.generation import turns
from chat.models import Event, Generation, Message, Session
from chat.process_mark import ProcessMark, is_alive
from chat.recovery import recover
from chat.services import CRASH_STEP
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


@contextmanager
def locked() -> Iterator[None]:
    """Another connection holds the write lock."""
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def impatient(settings: object) -> Iterator[None]:
    """Waiting for a lock ends at once, so that retrying is what the test sees."""
    options = connection.settings_dict["OPTIONS"]
    before = options["timeout"]
    options["timeout"] = 0.05
    yield
    options["timeout"] = before


async def test_text_flows_while_the_database_is_locked(site: FakeEngine, impatient: None) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["Before. ", gate, *(f"word{n} " for n in range(50))]
    expected = "Before. " + "".join(f"word{n} " for n in range(50))
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        name = delta["message_id"]
        await turns().log.flush()
        with locked():
            gate.set()
            while page.shown.texts[name] != expected:
                await page.until("message.delta")
            stored = await in_database(lambda: Message.objects.get(id=name).content)
            assert stored == "Before. "
        end = await page.until("message.end")
    assert end["status"] == "DONE"
    assert await in_database(lambda: Message.objects.get(id=name).content) == expected
    logged = await in_database(
        lambda: list(Event.objects.filter(kind="message.delta").order_by("seq"))
    )
    assert "".join(event.payload["text"] for event in logged) == expected
    assert [event.seq for event in logged] == [2, 52], "one row for all that had to wait"


class Disk:
    """`full`: every connection opened while it is set can grow the file by a few pages only, and
    then gets the real SQLITE_FULL from SQLite itself."""

    def __init__(self, spare_pages: int) -> None:
        self.full = True
        self.spare_pages = spare_pages

    def connected(self, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
        if self.full:
            with connection.cursor() as cursor:
                (pages,) = cursor.execute("PRAGMA page_count").fetchone()
                cursor.execute(f"PRAGMA max_page_count={pages + self.spare_pages}")


@pytest.fixture
def disk(transactional_db: None) -> Iterator[Disk]:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # pages that other tests have freed would be room to write
    made = Disk(spare_pages=25)
    connection_created.connect(made.connected)
    yield made
    connection_created.disconnect(made.connected)


async def test_a_full_disk_fails_the_turn_clearly_and_saves_it_when_it_can(
    site: FakeEngine, disk: Disk
) -> None:
    words = [f"word{n} " for n in range(3000)]
    site.script = lambda request: words
    site.codecs["chat"].context_length = 100_000
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
    name = end["message_id"]
    assert (end["status"], end["error"]["code"]) == ("FAILED", "storage_failed")
    assert "full" in end["error"]["message"]
    assert page.shown.texts[name] == "".join(words)
    row = await in_database(Generation.objects.get)
    assert (row.status, row.error and row.error["code"]) == ("FAILED", "storage_failed")
    assert (await in_database(Session.objects.get)).last_seq == CRASH_STEP == end["seq"]

    disk.full = False
    database.close()
    await written()
    assert await in_database(lambda: Message.objects.get(id=name).content) == "".join(words)
    site.script = lambda request: ["and on"]
    async with Page() as page:
        await page.send("turn.continue", session_id=end["session_id"], message_id=name)
        page.shown.texts[name] = "".join(words)
        assert (await page.until("message.end"))["status"] == "DONE"
        assert page.shown.texts[name] == "".join(words) + "and on"
    # A page that is loaded now follows from a number that no event carries.
    for after, told in (
        (0, "session.opened"),
        (CRASH_STEP, "session.opened"),
        (CRASH_STEP - 1, "session.reset"),
        (5000, "session.reset"),
    ):
        async with Page() as page:
            await page.send("session.open", session_id=end["session_id"], after=after)
            assert (await page.receive())["type"] == told
    assert site.requests[1].prompt_ids[-len("word2999 ") :] == tuple(b"word2999 ")


async def written() -> None:
    """Until the log has nothing left; what it could not write it tries again by itself."""
    while True:
        try:
            return await turns().log.flush()
        except StorageFailed:
            continue


async def test_the_log_outlives_an_error_that_nobody_thought_of(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one thread serves all turns: without it each of them would wait for ever at its end."""
    write, left = event_rows.write_events, iter(range(1))

    def failing(batch: Any) -> None:
        if next(left, None) is not None:
            raise RuntimeError("nobody thought of this")
        write(batch)

    monkeypatch.setattr(event_rows, "write_events", failing)
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
        assert (end["status"], end["error"]["code"]) == ("FAILED", "storage_failed")
        await written()
        await page.send("turn.continue", session_id=end["session_id"], message_id=end["message_id"])
        assert (await page.until("message.end"))["status"] == "DONE"


async def test_a_turn_that_could_not_be_ended_is_ended_by_recovery(
    site: FakeEngine, disk: Disk
) -> None:
    """RUNNING, ours, not live, silent: the row whose last write failed."""
    async with Page() as page:
        await page.submit("Go")
        await page.until("message.end")

    def abandon() -> None:
        Generation.objects.update(
            status="RUNNING", heartbeat_at=timezone.now() - timedelta(seconds=31)
        )
        Event.objects.filter(kind="message.end").delete()

    await in_database(abandon)
    sessions = await in_database(recover, process=turns().process)
    row = await in_database(Generation.objects.get)
    assert sessions == [row.session_id]
    assert (row.status, row.error and row.error["code"]) == ("FAILED", "server_stopped")


@pytest.mark.parametrize(
    ("owner", "age", "recovered"),
    [("ours", 0, False), ("ours", 31, True), ("unknown", 0, False), ("unknown", 31, True)],
)
async def test_only_rows_whose_owner_is_gone_are_failed(
    site: FakeEngine, owner: str, age: int, recovered: bool
) -> None:
    async with Page() as page:
        await page.submit("Go")
        await page.until("message.end")
    process = turns().process if owner == "ours" else uuid.uuid4().hex
    stamp = timezone.now() - timedelta(seconds=age)
    await in_database(
        lambda: Generation.objects.update(status="RUNNING", owner=process, heartbeat_at=stamp)
    )
    assert bool(await in_database(recover, process=turns().process)) is recovered


def test_a_process_is_alive_until_it_lets_go(settings: Any, tmp_path: Path) -> None:
    settings.TINYLLM_DATA_DIR = tmp_path
    mark = ProcessMark()
    assert is_alive(mark.id) is True
    os.close(mark._fd)  # as the kernel does when the process dies
    assert is_alive(mark.id) is False
    assert is_alive(uuid.uuid4().hex) is None


async def test_a_turn_that_cannot_be_saved_does_not_begin(site: FakeEngine, disk: Disk) -> None:
    disk.spare_pages = 0
    site.codecs["chat"].context_length = MAX_TEXT * 2
    async with Page() as page:
        name = await page.submit("x" * MAX_TEXT)
        error = await page.receive()
    assert (error["code"], error["client_id"]) == ("storage_failed", name)
    assert site.cancelled == [request.request_id for request in site.requests]


async def test_a_turn_waits_for_no_lock_forever(site: FakeEngine, impatient: None) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        with locked():
            ids = {"session_id": end["session_id"], "parent_id": end["message_id"]}
            name = await page.submit("Two", **ids)
            error = await page.receive()
    assert (error["code"], error["retryable"], error["client_id"]) == ("database_busy", True, name)
    assert site.cancelled == [request.request_id for request in site.requests[1:]]
