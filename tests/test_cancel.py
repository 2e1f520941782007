"""Four roads to the end of an answer, and one last part: the stream is closed, the engine's blocks
are free, and no more than one step was computed after that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission
from django.test import AsyncClient

from chat.database import in_database
from chat.generation import turns
from chat.models import Generation, Message, Session
from inference.engine_thread import EngineThread
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.server_process import PATIENCE_S, ServerProcess
from tests.threaded_engine import Gate, gate, store, thread, until

__all__ = ["gate", "store", "thread"]

pytestmark = pytest.mark.django_db(transaction=True)

CHANGELIST = "/admin/chat/generation/"
BEFORE = 12
"""Steps before the answer is cancelled."""


@pytest.fixture
async def real(site: FakeEngine, thread: EngineThread) -> EngineThread:
    """The site with a tiny model's real engine in place of the scripted one."""
    from chat import engine

    engine.install(thread)
    return thread


async def administrator(make_user: Any, **fields: Any) -> AsyncClient:
    client = AsyncClient()
    await client.aforce_login(await in_database(make_user, "boss", is_staff=True, **fields))
    return client


async def stop_as_admin(client: AsyncClient) -> Any:
    ids = await in_database(
        lambda: [str(i) for i in Generation.objects.values_list("id", flat=True)]
    )
    return await client.post(CHANGELIST, {"action": "stop", "_selected_action": ids}, follow=True)


@pytest.mark.real_engine
@pytest.mark.parametrize("road", ["stop", "disconnect", "admin", "deadline"])
async def test_at_most_one_step_is_computed_after_a_cancel(
    real: EngineThread, gate: Gate, settings: Any, make_user: Any, road: str
) -> None:
    settings.TINYLLM_DISCONNECT_GRACE_S = 0
    settings.TINYLLM_DEADLINE_S = 1 if road == "deadline" else 0
    boss = await administrator(make_user, is_superuser=True)
    gate.close()
    gate.allow(BEFORE)
    async with Page() as page:
        caller = None
        if road == "disconnect":
            body = json.dumps({"input": "Hello", "model": "tiny", "ignore_eos": True})
            post = AsyncClient().post("/api/chat", body, content_type="application/json")
            caller = asyncio.create_task(post)
        else:
            await page.submit("Hello", model="tiny", sampling={"ignore_eos": True})
        await until(lambda: len(gate.steps) == BEFORE + 1)  # it has begun, and is held
        (engine,) = real.engines()
        assert engine.cache.free_blocks < engine.cache.total_blocks
        if road == "stop":
            session = await in_database(Session.objects.get)
            await page.send("turn.stop", session_id=str(session.id))
        elif road == "admin":
            answer = await stop_as_admin(boss)
            assert "1 answer was stopped." in answer.content.decode()
        elif caller is not None:
            caller.cancel()
        await _told(real, road)
        gate.allow()
        await until(lambda: engine.is_idle)
        assert len(gate.steps) == BEFORE + 1
        assert engine.cache.free_blocks == engine.cache.total_blocks
        await until(lambda: not turns().generation_ids())
    row = await in_database(Generation.objects.get)
    assert row.status == ("FAILED" if road == "deadline" else "STOPPED")
    assert row.can_continue


async def _told(real: EngineThread, road: str) -> None:
    """Until the engine's thread has been told, or, of a deadline, until it is over."""
    if road == "deadline":
        await asyncio.sleep(1.1)
        return
    worker = real._worker
    assert worker is not None
    await until(lambda: not worker._commands.empty())


@pytest.mark.fake_engine
async def test_an_administrator_stops_what_runs_and_nothing_else(
    site: FakeEngine, make_user: Any
) -> None:
    boss = await administrator(make_user, is_superuser=True)
    never = asyncio.Event()
    async with Page() as page:
        await page.submit("Done")
        await page.until("message.end")
        site.script = lambda request: ["Half ", never]
        await page.submit("Running")
        await page.until("message.delta")
        assert "1 answer was stopped." in (await stop_as_admin(boss)).content.decode()
        end = await page.until("message.end")
        assert (end["status"], end["finish_reason"]) == ("STOPPED", "cancelled")
        assert "None of these answers" in (await stop_as_admin(boss)).content.decode()
    statuses = await in_database(lambda: list(Generation.objects.values_list("status", flat=True)))
    assert sorted(statuses) == ["DONE", "STOPPED"]
    assert len(site.cancelled) == 1


@pytest.mark.fake_engine
async def test_to_stop_needs_the_right_to_change(site: FakeEngine, make_user: Any) -> None:
    boss = await administrator(make_user)
    user = await in_database(lambda: type(make_user("ada")).objects.get(username="boss"))
    view = await in_database(Permission.objects.get, codename="view_generation")
    change = await in_database(Permission.objects.get, codename="change_generation")
    await in_database(user.user_permissions.add, view)
    never = asyncio.Event()
    site.script = lambda request: ["Half ", never]
    async with Page() as page:
        await page.submit("Running")
        await page.until("message.delta")
        await stop_as_admin(boss)
        assert site.cancelled == []
        await in_database(user.user_permissions.add, change)
        await stop_as_admin(boss)
        await page.until("message.end")
    assert len(site.cancelled) == 1


@pytest.fixture
def server(tmp_path: Any) -> Any:
    its = ServerProcess(tmp_path, TINYLLM_DISCONNECT_GRACE_S="1").migrate().start()
    yield its
    assert its.end() == 0


def statuses(server: ServerProcess) -> list[str]:
    return [status for (status,) in server.rows("select status from chat_generation order by 1")]


def answers(server: ServerProcess) -> list[str]:
    rows = server.rows("select content from chat_message where role = 'assistant'")
    return [content for (content,) in rows]


async def becomes(read: Callable[[], Any], wanted: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while read() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.fake_engine
async def test_a_caller_who_leaves_takes_the_answer_along_unless_somebody_reads_it(
    server: ServerProcess,
) -> None:
    @asynccontextmanager
    async def asking(text: str) -> AsyncIterator[None]:
        """Somebody waits for the answer, and has left at the end."""
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as client:
            waiting = asyncio.create_task(client.post("/api/chat", json={"input": text}))
            await becomes(lambda: "RUNNING" in statuses(server), True)
            yield
            waiting.cancel()

    async with asking("forever"):
        await becomes(lambda: answers(server)[-1].startswith("1 2 3 "), True)
        assert statuses(server) == ["RUNNING"]
    await becomes(lambda: statuses(server), ["STOPPED"])
    (cancelled,) = server.logged("turn.cancelled")
    assert cancelled["cause"] == "disconnect"

    client = httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S)
    async with client, AsyncExitStack() as reading:
        async with asking("forever and ever"):
            query = "select session_id from chat_generation where status = 'RUNNING'"
            ((session,),) = server.rows(query)
            address = f"/api/sessions/{session}/events"
            events = await reading.enter_async_context(client.stream("GET", address))
        end = asyncio.get_running_loop().time() + 2
        async for _ in events.aiter_lines():
            if asyncio.get_running_loop().time() > end:
                break
        assert statuses(server) == ["RUNNING", "STOPPED"]
    await becomes(lambda: statuses(server), ["STOPPED", "STOPPED"])


@pytest.mark.fake_engine
async def test_an_answer_begun_on_a_page_runs_on_without_it(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_DISCONNECT_GRACE_S = 0
    going = asyncio.Event()
    site.script = lambda request: ["Half ", going, "and the rest"]
    async with Page() as page:
        await page.submit("Hello")
        await page.until("message.delta")
    await asyncio.sleep(0.3)
    going.set()
    (turn,) = turns()._live.values()
    assert (await turn.wait_end())["status"] == "DONE"
    answer = await in_database(Message.objects.get, role="assistant")
    assert answer.content == "Half and the rest"
