"""The page of models: what it lists, what it does to them, one thing at a time, and who may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient

from chat import audit, engine
from chat.database import in_database
from chat.models import AuditEntry
from chat.operations import models_page
from chat.operations.model_work import ModelWork, Watched, WorkInProgress
from inference.errors import ModelUnavailable
from inference.model_store import ModelStore
from tests.fake_engine import FakeEngine
from tests.model_files import load_catalogue
from tests.test_operations_engine import client_of, person
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

HANG_S = 60


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A whole model `tiny`, one that is not here, and a folder of our own."""
    for name in ("tiny", "own"):
        write_tiny_llama(tmp_path / name)
    made = ModelStore(tmp_path, load_catalogue(tmp_path))
    monkeypatch.setattr(engine, "store", lambda: made)
    return made


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelWork]:
    made = ModelWork()
    monkeypatch.setattr(models_page, "work", made)
    yield made
    made.cancel()
    assert made.wait(HANG_S)


@pytest.fixture
async def operator(site: FakeEngine) -> AsyncClient:
    user = await in_database(person, "operator", "view_engine", "operate_engine")
    return await client_of(user)


async def ended(client: AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(HANG_S):
        while True:
            told: dict[str, Any] = (await client.get("/admin/models/status/")).json()["work"]
            if told["state"] != "running":
                return told
            await asyncio.sleep(0.01)


async def do(client: AsyncClient, verb: str, name: str, **fields: str) -> tuple[int, Any]:
    answer = await client.post(f"/admin/models/{verb}/", {"name": name, **fields})
    return answer.status_code, answer.json()


async def test_models_are_listed_with_their_state(
    site: FakeEngine, store: ModelStore, work: ModelWork, operator: AsyncClient
) -> None:
    told = (await operator.get("/admin/models/status/")).json()
    rows = {row["name"]: row for row in told["models"]}
    assert list(rows) == [*store.catalogue.entries, "own"]
    assert rows["tiny"]["state"] == rows["own"]["state"] == "ready"
    assert rows["half"]["state"] == "missing"
    assert rows["tale"]["shares"] == "tiny"
    assert rows["own"]["size"] > 0
    assert told["work"] is None
    page = await operator.get("/admin/models/", headers={"accept-language": "zh-hans"})
    assert "一次" not in page.content.decode()
    assert "同一时间只进行一项操作" in page.content.decode()


async def test_load_unload_and_remove_are_done_and_audited(
    site: FakeEngine, store: ModelStore, work: ModelWork, operator: AsyncClient
) -> None:
    site.codecs["tiny"] = site.codecs["chat"]
    for verb, loaded in (("load", {"tiny"}), ("unload", set()), ("remove", set())):
        assert await do(operator, verb, "tiny") == (202, {"started": True})
        assert (await ended(operator))["state"] == "done"
        assert site.loaded == loaded
    assert not store.directory("tiny").exists()
    log = AuditEntry.objects.filter(target_type="model").order_by("id")
    entries = await in_database(lambda: list(log))
    assert [(e.actor, e.action, e.target, e.after) for e in entries] == [
        ("operator", f"model.{verb}", "tiny", {"ended": "done"})
        for verb in ("load", "unload", "remove")
    ]


async def test_what_fails_says_why_and_changes_nothing(
    site: FakeEngine, store: ModelStore, work: ModelWork, operator: AsyncClient
) -> None:
    site.busy.add("tiny")
    for verb in ("unload", "remove"):
        await do(operator, verb, "tiny")
        told = await ended(operator)
        assert (told["state"], "being used" in told["message"]) == ("failed", True)
    assert store.state("tiny")[0] == "ready"
    await do(operator, "remove", "tale")
    assert "uses the files of tiny" in (await ended(operator))["message"]
    for name in ("nobody", "../own", "/etc", ".partial", ""):
        assert (await do(operator, "remove", name))[0] == 404, name
    status, told = await do(operator, "convert", "own", dtype="int3")
    assert (status, "bfloat16" in told["error"]) == (400, True)
    assert (await do(operator, "convert", "half", dtype="float16"))[0] == 503


async def test_a_pull_shows_its_progress_and_can_be_cancelled(
    site: FakeEngine,
    store: ModelStore,
    work: ModelWork,
    operator: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    went_on = threading.Event()

    def pull(self: ModelStore, name: str, progress: Watched) -> bool:
        progress.begin("model.safetensors", 1000)
        progress.at(250)
        went_on.wait(HANG_S)
        progress.at(500)
        raise AssertionError("it was cancelled")

    monkeypatch.setattr(ModelStore, "pull", pull)
    await do(operator, "pull", "half")
    async with asyncio.timeout(HANG_S):
        while (now := work.told() or {})["done"] != 250:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert (now["label"], now["total"], now["state"]) == ("model.safetensors", 1000, "running")
    assert (await do(operator, "load", "tiny"))[0] == 409
    assert (await operator.post("/admin/models/cancel/")).json() == {"cancelled": True}
    went_on.set()
    assert (await ended(operator))["state"] == "cancelled"
    assert (await operator.post("/admin/models/cancel/")).json() == {"cancelled": False}


async def test_a_model_is_converted_by_the_command(
    site: FakeEngine, store: ModelStore, work: ModelWork, operator: AsyncClient
) -> None:
    await do(operator, "convert", "own", dtype="bfloat16")
    told = await ended(operator)
    assert told["state"] == "done", told
    assert store.state("own-bfloat16")[0] == "ready"
    await do(operator, "convert", "own", dtype="bfloat16")
    told = await ended(operator)
    assert (told["state"], "exists already" in told["message"]) == ("failed", True)


@pytest.mark.parametrize("verb", models_page.VERBS)
async def test_who_may_only_look_changes_nothing(
    site: FakeEngine, store: ModelStore, work: ModelWork, verb: str
) -> None:
    watcher = await client_of(await in_database(person, "watcher", "view_engine"))
    assert (await watcher.get("/admin/models/status/")).status_code == 200
    page = await watcher.get("/admin/models/")
    assert (page.status_code, b'data-verb="remove"' in page.content) == (200, False)
    assert (await do(watcher, verb, "tiny"))[0] == 403
    nobody = AsyncClient(headers={"host": "localhost"})
    assert (await nobody.get("/admin/models/status/")).status_code == 403
    assert (await do(nobody, verb, "tiny"))[0] == 403
    assert work.told() is None


def test_one_thing_is_done_at_a_time_and_a_command_ends_with_its_work() -> None:
    made = ModelWork()
    began = threading.Event()

    def task(watched: Watched) -> None:
        began.set()
        watched.run(["sleep", "600"])

    made.start("convert", "a", task)
    assert began.wait(HANG_S)
    with pytest.raises(WorkInProgress):
        made.start("convert", "b", task)
    assert made.cancel()
    assert made.wait(HANG_S)
    assert (made.told() or {})["state"] == "cancelled"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda watched: watched.run(["sh", "-c", "echo a; echo b >&2; exit 3"]), "b"),
        (lambda watched: watched.run(["sh", "-c", "exit 3"]), "3"),
        (lambda watched: refuse(OSError("disk")), "disk"),
        (lambda watched: refuse(KeyError("x")), "KeyError: 'x'"),
        (lambda watched: refuse(ModelUnavailable("Gone.", model="a")), "Gone."),
    ],
)  # fmt: skip
def test_every_trouble_ends_the_work_in_words(
    trouble: Callable[[Watched], None], said: str
) -> None:
    made = ModelWork()
    made.start("pull", "a", trouble)
    assert made.wait(HANG_S)
    told = made.told() or {}
    assert (told["state"], told["message"]) == ("failed", said)
    assert AuditEntry.objects.get().actor == audit.NOBODY


def refuse(error: Exception) -> None:
    raise error
