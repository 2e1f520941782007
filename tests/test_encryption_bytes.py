"""With keys nothing that is said is in any byte of any file, and its owner reads it as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from chat import engine
from chat.backup import write_backup
from chat.database import in_database
from chat.identity import local_user
from chat.models import (
    Event,
    Feedback,
    File,
    Folder,
    Message,
    Preset,
    SearchText,
    Session,
    ShareLink,
)
from chat.privacy.erasure import erase_person
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.kept_engine import files_of, started
from tests.process_engine import tiny_store
from tests.test_encryption import CHINESE, SECRET, TOLD, database, encrypted, left_in
from tests.test_privacy_erasure import careless, files_with
from tests.test_privacy_own_data import fetched
from tests.threaded_engine import until

__all__ = ["careless", "encrypted"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def say_everything(client: AsyncClient) -> str:
    """A word wherever a person can leave one. Returns the session's id."""
    a_file = {"file": SimpleUploadedFile(f"{SECRET}.txt", f"The file says {TOLD}.".encode())}
    file = (await client.post("/api/files", a_file)).json()
    await client.post("/prompts/", {"name": TOLD, "text": TOLD})
    async with Page() as page:
        await page.submit(f"I tell you {TOLD}", files=[file["id"]])
        end = await page.until("message.end")
        where = f"/api/sessions/{end['session_id']}"
        prompted = {"settings": {"system_prompt": TOLD, "stop": [SECRET]}}
        rated = {"value": 1, "comment": TOLD}
        calls: list[tuple[Any, str, Any]] = [
            (client.put, f"{where}/settings", prompted),
            (client.post, "/api/presets", {"name": TOLD, **prompted}),
            (client.post, "/api/folders", {"name": TOLD}),
            (client.post, f"{where}/shares", {}),
            (client.put, f"{where}/messages/{end['message_id']}/rating", rated),
        ]
        for call, path, body in calls:
            answer = await call(path, body, content_type="application/json")
            assert answer.status_code in (200, 201), answer.content
        again = {"session_id": end["session_id"], "parent_id": end["message_id"]}
        await page.submit(f"Once more {TOLD}", **again)
        await page.until("message.end")
    return str(end["session_id"])


async def test_nothing_that_is_said_is_in_a_byte_of_a_file(
    site: FakeEngine, encrypted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = AsyncClient()
    session = await say_everything(client)
    assert left_in(database().parent) == []
    assert left_in(tmp_path) == []
    assert "turn_ended" in caplog.text
    assert SECRET not in caplog.text
    await in_database(write_backup, tmp_path.parent / f"{tmp_path.name}.tar")
    assert files_with(tmp_path.parent, [SECRET]) == []
    assert await SearchText.objects.acount() == 0
    # and all of it is there for its owner
    told = (await client.get(f"/api/sessions/{session}")).json()
    assert [TOLD in message["content"] for message in told["messages"]] == [True] * 4
    async with Page() as page:
        await page.send("session.open", session_id=session, after=0)
        for _ in range(2):
            await page.until("message.end")
        assert [TOLD in text for text in page.shown.texts.values()] == [True] * 2
    export = await client.get(f"/api/sessions/{session}/export")
    assert SECRET in export.content.decode()


async def test_the_same_is_found_without_a_key(site: FakeEngine, tmp_path: Path) -> None:
    await say_everything(AsyncClient())
    assert left_in(database().parent)


async def test_an_erased_person_is_gone_and_own_data_is_plain(
    site: FakeEngine, encrypted: Any
) -> None:
    await say_everything(AsyncClient())
    _folder, tables = await fetched(AsyncClient())
    for name, column in (
        ("session", "title"),
        ("message", "content"),
        ("event", "payload"),
        ("file", "text"),
        ("file", "name"),
        ("feedback", "comment"),
        ("folder", "name"),
        ("preset", "name"),
        ("preset", "settings"),
        ("presetversion", "name"),
        ("savedprompt", "name"),
        ("savedprompt", "text"),
        ("savedpromptversion", "text"),
        ("sharelink", "messages"),
        ("messagereading", "prompt_text"),
    ):
        assert SECRET in json.dumps(tables[name][0][column]), name
    assert set(SECRET.encode()) < set(tables["generation"][0]["prompt_ids"])
    mine = await in_database(local_user)
    assert (await erase_person(user_id=mine.id)).is_scrubbed
    models: list[Any] = [Session, Message, Event, File, Feedback, Folder, Preset, ShareLink]
    assert [await model.objects.acount() for model in models] == [0] * len(models)


async def test_without_keys_an_erased_person_is_in_no_file_and_no_log(
    site: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows, the log of the database, what was attached, saved KV, and what the server wrote out."""
    await say_everything(AsyncClient())
    kv = tmp_path / "kv"
    async with started(tiny_store(tmp_path / "models"), kv, kv_idle_s=0.01) as its:
        engine.install(its)
        async with Page() as page:
            await page.submit(f"Tell me {TOLD}", model="tiny", sampling={"max_tokens": 40})
            await page.until("message.end")
        await until(lambda: bool(files_of(kv)))
        mine = await in_database(local_user)
        assert (await erase_person(user_id=mine.id)).is_scrubbed
        assert files_of(kv) == []
    assert left_in(database().parent) == []
    assert left_in(tmp_path) == []
    assert "person_erased" in caplog.text
    assert SECRET not in caplog.text
    assert CHINESE not in caplog.text
