"""The engine's page: who may see it, what it says of a running answer, and how one is cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import AsyncClient

from chat.database import in_database
from chat.generation import turns
from chat.models import AuditEntry, Generation, User
from chat.operations.load_history import KEPT, LoadHistory
from chat.submission import Submission
from inference.request_status import ProcessStatus, RequestStatus, Totals
from inference.types import EngineStatus, GenerateRequest, ModelStatus
from tests.fake_engine import FakeEngine, Step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

STATUS, CANCEL = "/admin/engine/status/", "/admin/engine/cancel/{}/"


def person(name: str, *rights: str, is_staff: bool = True) -> User:
    user = User.objects.create_user(name, is_staff=is_staff)
    found = Permission.objects.filter(codename__in=rights, content_type__app_label="chat")
    user.user_permissions.set(found)
    assert found.count() == len(rights)
    return user


async def client_of(user: User) -> AsyncClient:
    client = AsyncClient(headers={"host": "localhost"})
    await client.aforce_login(user)
    return client


class Held:
    """A script that says two words and waits."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def __call__(self, request: GenerateRequest) -> Iterator[Step]:
        yield from ("secret ", "words", self.gate)


async def running_turn(site: FakeEngine, owner: User) -> Any:
    site.script = Held()
    accepted = await turns().submit(
        owner_id=owner.id, submission=Submission(text="A secret question", model="chat")
    )
    assert accepted.live is not None
    while "words" not in accepted.live.text:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return accepted.live


def status_of(request_id: str, owner: User) -> EngineStatus:
    asked = RequestStatus(
        request_id, str(owner.id), "running", 20, 20, 16, 7, age_s=3.21, tokens_per_s=2.5
    )
    other = RequestStatus("r2", "benchmark", "waiting", 9)
    model = ModelStatus(
        ("chat", "story"), "ready", "cpu", 700, running=1, waiting=1, used_blocks=3,
        total_blocks=10, cached_blocks=2, block_map="2231100000", weights=500, cache=150,
        requests=(asked, other),
    )  # fmt: skip
    return EngineStatus((model,), 1000, process=ProcessStatus(1, 4000, 5, 6))


async def test_a_running_answer_is_shown_without_its_text(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, watcher = await in_database(people)
    turn = await running_turn(site, ada)

    async def status() -> EngineStatus:
        return status_of(turn.request_id, ada)

    monkeypatch.setattr(site, "status", status)
    answer = await (await client_of(watcher)).get(STATUS)
    told = answer.json()
    assert told["requests"] == [
        {
            "generation": str(turn.started.generation_id), "who": "ada", "model": "chat",
            "state": "running", "prompt": 20, "read": 20, "cached": 16, "output": 7,
            "age_s": 3.2, "speed": 2.5,
        },
        {
            "generation": None, "who": "benchmark", "model": "chat", "state": "waiting",
            "prompt": 9, "read": 0, "cached": 0, "output": 0, "age_s": 0.0, "speed": 0.0,
        },
    ]  # fmt: skip
    assert told["models"][0]["blocks"] == {"used": 3, "cached": 2, "free": 5}
    assert told["models"][0]["map"] == "2231100000"
    numbers = ("held", "budget", "engine_memory", "gpu_used", "gpu_total")
    assert [told[name] for name in numbers] == [700, 1000, 4000, 5, 6]
    assert told["server_memory"] > 10**6
    assert b"secret" not in answer.content


def people() -> tuple[User, User]:
    return person("ada", is_staff=False), person("watcher", "view_engine")


async def test_cancel_takes_the_one_road_and_is_in_the_audit_log(site: FakeEngine) -> None:
    ada, watcher = await in_database(people)
    operator = await in_database(person, "operator", "view_engine", "operate_engine")
    turn = await running_turn(site, ada)
    path = CANCEL.format(turn.started.generation_id)
    refused = await (await client_of(watcher)).post(path)
    assert refused.status_code == 403
    cancels = AuditEntry.objects.filter(action="generation.cancel")
    assert await in_database(cancels.count) == 0
    client = await client_of(operator)
    assert (await client.get(path)).status_code == 405
    assert (await client.post(path)).json() == {"stopped": 1}
    assert site.cancelled == [turn.request_id]
    row = await Generation.objects.aget()
    assert row.status == "STOPPED"
    assert turn.text == "secret words"
    entry = await cancels.aget()
    assert (entry.actor, entry.target_id) == ("operator", str(row.id))
    assert (await client.post(path)).json() == {"stopped": 0}
    assert await in_database(cancels.count) == 1


async def test_only_staff_with_the_right_may_look(site: FakeEngine) -> None:
    everyone = {
        "watcher": (200, 200, ("view_engine",), True),
        "reader": (403, 403, ("view_generation", "change_generation"), True),
        "ada": (302, 403, ("view_engine",), False),
    }
    for name, (page, status, rights, is_staff) in everyone.items():
        client = await client_of(await in_database(person, name, *rights, is_staff=is_staff))
        assert (await client.get("/admin/engine/")).status_code == page, name
        assert (await client.get(STATUS)).status_code == status, name
    nobody = AsyncClient(headers={"host": "localhost"})
    assert (await nobody.get("/admin/engine/")).status_code == 302
    assert (await nobody.get(STATUS)).status_code == 403
    forged = AsyncClient(enforce_csrf_checks=True, headers={"host": "localhost"})
    await forged.aforce_login(await in_database(person, "boss", "operate_engine"))
    path = CANCEL.format("00000000-0000-4000-8000-000000000000")
    assert (await forged.post(path)).status_code == 403


async def test_an_engine_that_is_gone_is_said_in_words(site: FakeEngine) -> None:
    from chat import engine

    client = await client_of((await in_database(people))[1])
    engine.install(None)
    told = (await client.get(STATUS, headers={"accept-language": "zh-hans"})).json()
    assert "引擎" in told["error"]


def test_rates_are_those_between_two_samples() -> None:
    history = LoadHistory()

    def at(now: float, *totals: Totals, names: str = "ab") -> None:
        models = tuple(
            ModelStatus((name,), "ready", "cpu", 1, running=2, waiting=1, totals=total)
            for name, total in zip(names, totals, strict=False)
        )
        history.add(EngineStatus(models, 1), now)

    at(100, Totals(1, 100, 1000), Totals())
    at(110, Totals(3, 120, 1050), Totals(1, 5, 10))
    at(120, Totals(0, 30, 40), names="a")  # loaded again, and b is gone
    told = history.told(120)
    assert [each["ago"] for each in told] == [20, 10, 0]
    assert [each["output"] for each in told] == [0, 6, 0]
    assert [each["prompt"] for each in told] == [0, 2.5, 0]
    assert [each["requests"] for each in told] == [0, 0.3, 0]
    assert [(each["running"], each["waiting"]) for each in told] == [(4, 2), (4, 2), (2, 1)]
    for now in range(130, 130 + 2 * KEPT):
        at(now, Totals())
    assert len(history.told(999)) == KEPT
    assert json.dumps(history.told(999))
