"""A session that is deleted, in whichever way, leaves nothing on disk; what was deleted while no
server ran is swept."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import AsyncClient, Client

from chat import engine, forgetting
from chat.database import in_database
from chat.models import Message, Session, User
from chat.packing import unpack
from inference.engine_thread import EngineThread
from inference.kv_cache import BLOCK_SIZE
from inference.types import Finished, GenerateRequest, SamplingParams
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine
from tests.kept_engine import files_of, started
from tests.process_engine import tiny_store
from tests.threaded_engine import read, until

pytestmark = pytest.mark.real_engine

ONE = SamplingParams(temperature=0, max_tokens=1)
SAMPLING = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kv"


@pytest.fixture
async def real(site: FakeEngine, tmp_path: Path, folder: Path) -> AsyncIterator[EngineThread]:
    """The site with an engine that saves a session at once."""
    async with started(tiny_store(tmp_path / "models"), folder, kv_idle_s=0.01) as its:
        engine.install(its)
        yield its


async def talked(folder: Path, text: str = "Tell me a story of three bears") -> str:
    """A session of one turn that was saved."""
    async with Page() as page:
        await page.submit(text, model="tiny", sampling=SAMPLING)
        session = str((await page.until("message.end"))["session_id"])
    await until(lambda: any(path.stem == session for path in files_of(folder)))
    return session


async def by_rest(session: str) -> None:
    answer = await AsyncClient(headers={"host": "localhost"}).delete(f"/api/sessions/{session}")
    assert answer.status_code == 204


def _by_admin(session: str) -> None:
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("boss"))
    data = {"action": "delete_selected", "_selected_action": [session], "post": "yes"}
    assert client.post("/admin/chat/session/", data).status_code == 302


def _with_owner(session: str) -> None:
    Session.objects.get(id=session).owner.delete()


def _by_message(session: str) -> None:
    Message.objects.filter(session_id=session).first().delete()  # type: ignore[union-attr]


WAYS: dict[str, Any] = {
    "REST": by_rest,
    "admin": sync_to_async(_by_admin),
    "owner": sync_to_async(_with_owner),
    "message": sync_to_async(_by_message),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_deleted_leaves_no_file_and_nothing_in_the_cache(
    real: EngineThread, folder: Path, way: str
) -> None:
    session = await talked(folder)
    kept = await talked(folder, "Another one of a wolf and a forest")
    prompt = tuple(await in_database(first_prompt, session))
    await WAYS[way](session)
    if way != "REST":  # which answers when all is gone
        await forgetting.settled()
    assert files_of(folder, session) == []
    assert len(files_of(folder, kept)) == (0 if way == "owner" else 1)  # who has both
    assert not any(session.encode() in path.read_bytes() for path in files_of(folder))
    events = await read(real, GenerateRequest("look", "tiny", prompt, ONE))
    assert isinstance(events[-1], Finished)
    assert events[-1].cached_tokens == 0


def first_prompt(session: str) -> list[int]:
    generation = Session.objects.get(id=session).generations.first()
    assert generation is not None
    return unpack(generation.prompt_ids)


async def test_the_second_turn_after_a_restart_shows_cached_tokens(
    site: FakeEngine, tmp_path: Path, folder: Path
) -> None:
    store, ends = tiny_store(tmp_path / "models"), list[Frame]()
    where: dict[str, Any] = {}
    for text in ("Tell me a story of three bears", "And then?"):
        async with started(store, folder) as its:
            engine.install(its)
            async with Page() as page:
                await page.submit(text, model="tiny", sampling=SAMPLING, **where)
                end = await page.until("message.end")
        ends.append(end)
        where = {"session_id": end["session_id"], "parent_id": end["message_id"]}
    first, second = (end["usage"] for end in ends)
    said = first["prompt_tokens"] + first["output_tokens"]
    assert first["cached_tokens"] == 0
    assert second["cached_tokens"] == (said - 1) // BLOCK_SIZE * BLOCK_SIZE > 0


async def test_what_was_deleted_while_no_server_ran_is_swept(site: FakeEngine) -> None:
    session = await in_database(
        lambda: Session.objects.create(owner=User.objects.create_user("ada"), model="chat")
    )
    gone = str(uuid.uuid4())
    site.saved = {str(session.id), gone, "not-an-id"}
    await forgetting.sweep()
    assert site.saved == {str(session.id)}


async def test_a_deletion_that_is_taken_back_forgets_nothing(site: FakeEngine) -> None:
    def delete_and_fail() -> str:
        session = Session.objects.create(owner=User.objects.create_user("ada"), model="chat")
        name = str(session.id)
        site.saved = {name}
        with transaction.atomic():
            session.delete()
            transaction.set_rollback(True)
        return name

    name = await in_database(delete_and_fail)
    assert site.saved == {name}


async def test_without_a_server_a_deletion_is_just_that(site: FakeEngine) -> None:
    engine.install(None)
    await in_database(lambda: Session.objects.all().delete())
    await forgetting.settled()
    await forgetting.sweep()
