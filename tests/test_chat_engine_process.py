"""The site beside an engine process: it outlives it, and ends it as it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from chat import engine
from chat.database import in_database
from chat.models import Generation, Message
from inference.engine_process import EngineProcess
from tests.chat_client import Page, Shown
from tests.child_orders import obey
from tests.fake_engine import FakeEngine
from tests.process_engine import exists, pid_of, running, tiny_store
from tests.server_process import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.real_engine

LONG = {"max_tokens": 300, "temperature": 0, "ignore_eos": True}


@pytest.fixture
async def process(site: FakeEngine, tmp_path: Path) -> AsyncIterator[EngineProcess]:
    """The site of this process, with an engine in another one."""
    async with running(tiny_store(tmp_path / "models"), partial(obey, slow=True)) as its:
        engine.install(its)
        yield its


async def stored() -> tuple[list[str], str]:
    """How each generation ended, and the answer's text."""

    def look() -> tuple[list[str], str]:
        rows = Generation.objects.order_by("created_at").values_list("status", flat=True)
        return list(rows), Message.objects.get(role="assistant").content

    return await in_database(look)


@pytest.mark.django_db(transaction=True)
async def test_an_answer_whose_engine_dies_is_kept_and_goes_on_in_the_next(
    process: EngineProcess,
) -> None:
    async with Page() as page:
        await page.submit("Tell", model="tiny", sampling=LONG)
        name = (await page.until("message.delta"))["message_id"]
        while len(page.shown.texts[name]) < 20:
            await page.until("message.delta")
        os.kill(pid_of(process), signal.SIGKILL)
        end = await page.until("message.end")
        assert (end["status"], end["can_continue"]) == ("FAILED", True)
        assert (end["error"]["code"], end["error"]["retryable"]) == ("engine_crashed", True)
        assert "signal 9" in end["error"]["message"]
        kept = page.shown.texts[name]
        assert await stored() == (["FAILED"], kept)
        await process.report()  # the next process is there
        await page.send("turn.continue", session_id=end["session_id"], message_id=name)
        while page.shown.texts[name] == kept:
            await page.until("message.delta")
        await page.send("turn.stop", session_id=end["session_id"])
        assert (await page.until("message.end"))["status"] == "STOPPED"
    assert page.shown.texts[name].startswith(kept)
    assert await stored() == (["FAILED", "STOPPED"], page.shown.texts[name])


async def test_ctrl_c_lets_the_answer_end_and_then_ends_both(tmp_path: Path) -> None:
    """A terminal signals every process of its group at once."""
    server = ServerProcess(
        tmp_path,
        TINYLLM_ENGINE_FACTORY="tests.process_engine.build",
        TINYLLM_MODELS_DIR=str(tmp_path / "models"),
    )
    await asyncio.to_thread(server.migrate().start)
    assert server.process is not None
    found = re.search(r'"pid": (\d+), "event": "engine.child_started"', _log(server))
    assert found
    shown, pid = Shown(), int(found[1])
    frame = {"v": 1, "type": "turn.submit", "client_id": uuid.uuid4().hex, "text": "Go"}
    sampling = LONG | {"max_tokens": 100}
    async with connect(server.socket_url) as line:
        await line.send(
            json.dumps({**frame, "session_id": None, "model": "tiny", "sampling": sampling})
        )
        while not shown.texts:
            shown.apply(json.loads(await asyncio.wait_for(line.recv(), PATIENCE_S)))
        for each in (pid, server.process.pid):
            os.kill(each, signal.SIGINT)
        kinds = {}
        while "message.end" not in kinds:
            frame = json.loads(await asyncio.wait_for(line.recv(), PATIENCE_S))
            kinds[frame["type"]] = frame
    assert kinds["message.end"]["status"] == "DONE"
    await asyncio.to_thread(server.process.communicate, timeout=PATIENCE_S)
    assert server.process.returncode == 0
    assert not exists(pid)
    assert '"engine.child_stopped"' in _log(server)


def _log(server: ServerProcess) -> str:
    return (server.directory / "log").read_text()
