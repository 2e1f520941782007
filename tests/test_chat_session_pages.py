"""Pages of the list: nothing missing or twice, one index, and as many rows read as are shown."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.identity import local_user
from chat.models import Session
from chat.session_pages import PAGE, session_page

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make(owner: Any, count: int, **fields: Any) -> None:
    """Sessions a second apart, every third at the same moment as the one before."""
    for number in range(count):
        at = NOON + timedelta(seconds=number - (number % 3 == 2))
        given = {"title": f"No. {number}", "model": "chat", "updated_at": at, **fields}
        Session.objects.create(owner=owner, **given)


def test_pages_join_without_gap_or_repetition(make_user: Any) -> None:
    owner = make_user("ada")
    make(owner, 23)
    make(owner, 2, pinned=True)
    make(owner, 3, archived=True)
    make(make_user("eve"), 3)
    shown: list[uuid.UUID] = []
    before = ""
    while rows := session_page(owner_id=owner.id, before=before, limit=4):
        shown += [row.id for row in rows]
        before = rows[-1].position
    listed = Session.objects.filter(owner=owner, archived=False)
    expected = listed.order_by("-pinned", "-updated_at", "-id").values_list("id", flat=True)
    assert shown == list(expected)
    assert len(session_page(owner_id=owner.id, archived=True)) == 3


def test_a_session_that_is_spoken_in_meanwhile_is_no_gap(make_user: Any) -> None:
    owner = make_user("ada")
    make(owner, 9)
    first = session_page(owner_id=owner.id, limit=4)
    Session.objects.filter(id=first[-1].id).update(updated_at=NOON + timedelta(days=1))
    second = session_page(owner_id=owner.id, limit=5, before=first[-1].position)
    assert len({row.id for row in [*first, *second]}) == 9


@pytest.mark.sqlite
@pytest.mark.parametrize("behind", [False, True])
def test_a_page_is_read_off_one_index_in_its_order(make_user: Any, behind: bool) -> None:
    owner = make_user("ada")
    make(owner, 200)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    before = session_page(owner_id=owner.id, limit=100)[-1].position if behind else ""
    with CaptureQueriesContext(connection) as captured:
        session_page(owner_id=owner.id, before=before, limit=10)
    assert len(captured) == (1 if behind else 2)
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"])
            (step,) = [row[3] for row in cursor.fetchall()]  # a sort would be a second one
        equal = "owner_id=? AND archived=? AND pinned=?"
        assert "USING INDEX session_in_list (" in step
        assert step.endswith(f"({equal} AND updated_at<?)" if behind else f"({equal})")


@pytest.mark.sqlite
def test_a_page_reads_its_own_rows_and_no_other(make_user: Any) -> None:
    """Counted in the steps of SQLite's machine, of which each row that is read takes some."""
    owner, steps = make_user("ada"), list[int]()

    def read(limit: int) -> int:
        connection.ensure_connection()
        steps.clear()
        connection.connection.set_progress_handler(lambda: steps.append(1), 1)
        try:
            assert len(session_page(owner_id=owner.id, limit=limit)) == limit
        finally:
            connection.connection.set_progress_handler(None, 0)
        return len(steps)

    make(owner, 50)
    few = read(10)
    make(owner, 950)
    make(make_user("eve"), 500)
    assert read(10) == few < read(20)


def test_a_page_costs_the_same_however_many_there_are(settings: Any, make_user: Any) -> None:
    settings.TINYLLM_LOCAL = True
    owner = local_user()
    client = Client(headers={"host": "localhost"})
    costs = []
    for count in (PAGE, 4 * PAGE):
        make(owner, count)
        with CaptureQueriesContext(connection) as captured:
            page = client.get("/")
        assert page.content.count(b"data-position") == PAGE + 1  # and the template of one
        costs.append(len(captured))
    assert costs == [4, 4]
