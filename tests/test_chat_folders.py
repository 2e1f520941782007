"""Folders: made, renamed, filled, shown alone off one index, and deleted without their sessions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from chat.database import in_database
from chat.folders import MAX_NAME, folder_create
from chat.models import Folder
from chat.session_pages import session_page
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.test_chat_session_edits import edited, listed, said
from tests.test_chat_session_pages import make

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def asked(method: str, path: str, **body: Any) -> Any:
    call = getattr(AsyncClient(), method)
    return await call(f"/api/folders{path}", json.dumps(body), content_type="application/json")


async def made(name: str) -> str:
    answer = await asked("post", "", name=name)
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def test_sessions_go_in_and_out_and_outlive_their_folder(site: FakeEngine) -> None:
    first, second = await said("One"), await said("Two")
    folder = await made("  Work\n and more ")
    async with Page() as page:
        assert (await edited(first, folder=folder)).json()["folder_id"] == folder
        told = (await page.until("sessions.changed"))["session"]
        assert (told["id"], told["folder_id"]) == (first, folder)
    assert await listed(limit=50, folder=folder) == ["One"]
    assert await listed() == ["Two", "One"], "all of them, without a filter"
    assert await said("More", first) == first
    await edited(second, folder=folder)
    await edited(second, folder="")
    assert await listed(limit=50, folder=folder) == ["One"]
    answer = await asked("patch", f"/{folder}", name="Play")
    assert answer.json() == {"id": folder, "name": "Play"}
    assert (await AsyncClient().get("/api/folders")).json() == [answer.json()]
    assert (await asked("delete", f"/{folder}")).status_code == 204
    assert await listed() == ["One", "Two"]
    gone = await AsyncClient().get("/api/sessions", {"limit": "5", "folder": folder})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "folder_not_found")


async def test_nobody_puts_anything_into_another_person_s(site: FakeEngine, make_user: Any) -> None:
    session = await said("One")
    owner = await in_database(make_user, "eve")
    hers = await in_database(folder_create, owner_id=owner.id, name="Hers")
    for folder in (str(hers.id), "x", "\0"):
        answer = await edited(session, folder=folder)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "folder_not_found")
    answer = await AsyncClient().get("/api/sessions", {"limit": "5", "folder": str(hers.id)})
    assert answer.status_code == 404
    await made("Hers")  # a name is one person's own matter


@pytest.mark.parametrize("name", ["", " \n", "x" * (MAX_NAME + 1), "\ud800", "Taken"])
async def test_a_bad_name_is_named_and_changes_nothing(site: FakeEngine, name: str) -> None:
    await made("Taken")
    other = await made("Other")
    for answer in (
        await asked("post", "", name=name),
        await asked("patch", f"/{other}", name=name),
    ):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
    names = await in_database(lambda: sorted(Folder.objects.values_list("name", flat=True)))
    assert names == ["Other", "Taken"]


@pytest.mark.sqlite
@pytest.mark.parametrize("behind", [False, True])
def test_a_folder_is_read_off_one_index_in_its_order(make_user: Any, behind: bool) -> None:
    owner = make_user("ada")
    folder = folder_create(owner_id=owner.id, name="Work")
    make(owner, 100)
    make(owner, 100, folder=folder)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    its: dict[str, Any] = {"owner_id": owner.id, "folder": str(folder.id)}
    before = session_page(**its, limit=50)[-1].position if behind else ""
    with CaptureQueriesContext(connection) as captured:
        session_page(**its, before=before, limit=10)
    _folder, *queries = captured.captured_queries
    assert len(queries) == (1 if behind else 2)
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"])
            (step,) = [row[3] for row in cursor.fetchall()]  # a sort would be a second one
        assert "USING INDEX session_in_folder (" in step
