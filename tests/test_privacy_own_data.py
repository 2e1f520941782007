"""What a person is given of themselves: everything, of nobody else, and no secret."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from django.apps import apps
from django.test import AsyncClient

from chat.database import in_database
from chat.models import (
    AuditEntry,
    EncryptionKey,
    Message,
    OperatorRights,
    Retention,
    Session,
    SetupToken,
    SiteSetting,
    User,
)
from chat.privacy.own_data import owned_tables
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

pytestmark = pytest.mark.fake_engine

OF_NOBODY = {SetupToken, SiteSetting, OperatorRights, AuditEntry, EncryptionKey, Retention}
"""Tables of the site itself. A new one stands here or belongs to somebody."""


def test_every_table_belongs_to_somebody_or_is_known_not_to() -> None:
    tables = set(apps.get_app_config("chat").get_models())
    assert tables - set(owned_tables()) == OF_NOBODY


async def fetched(client: AsyncClient) -> tuple[zipfile.ZipFile, dict[str, list[dict[str, Any]]]]:
    answer: Any = await client.get("/my-data/archive/")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    content = b"".join([part async for part in answer])
    folder = zipfile.ZipFile(io.BytesIO(content))
    assert folder.testzip() is None
    tables = {
        name.removeprefix("tables/").removesuffix(".jsonl"): [
            json.loads(line) for line in folder.read(name).decode().splitlines()
        ]
        for name in folder.namelist()
        if name.startswith("tables/")
    }
    return folder, tables


async def test_a_person_gets_all_that_is_theirs(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.privacy.own_data.PAGE", 2)
    async with Page() as page:
        for text in ("你好", "Tell me more"):
            await page.submit(text)
            end = await page.until("message.end")

    def somebody_else() -> None:
        other = User.objects.create_user("other", password="correct horse")
        session = Session.objects.create(owner=other, title="Not yours", model="chat")
        Message.objects.create(session=session, role="user", content="Not yours")

    await in_database(somebody_else)
    client = AsyncClient(headers={"host": "localhost"})
    folder, tables = await fetched(client)
    assert [row["username"] for row in tables["user"]] == ["local"]
    assert sorted(row["title"] for row in tables["session"]) == ["Tell me more", "你好"]
    assert len(tables["message"]) == 4
    assert len(tables["generation"]) == 2
    assert tables["generation"][0]["output_ids"][-1] == 256
    assert len(tables["event"]) > 4
    everything = "".join(folder.read(name).decode() for name in folder.namelist())
    assert "Not yours" not in everything
    assert "password" not in everything
    said = folder.read(f"conversations/{end['session_id']}.md").decode()
    assert "Tell me more" in said


@pytest.mark.django_db(transaction=True)
async def test_others_are_sent_to_the_login(settings: Any) -> None:
    settings.TINYLLM_LOCAL = False
    answer = await AsyncClient(headers={"host": "localhost"}).get("/my-data/archive/", secure=True)
    assert answer.status_code == 302
    assert "next=/my-data/archive/" in answer["Location"]
