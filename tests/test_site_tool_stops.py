"""While a tool of the site runs no turn is written: the response is stopped then, its caller
leaves, or another answer is begun in its session."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database, write_database
from chat.models import Message, Session
from chat.v1 import course
from tests.fake_engine import FakeEngine
from tests.site_tools import CALL, GAVE, OFFERED, got, plugins, respond, script
from tests.v1_client import arrived, error_of, post

__all__ = ["plugins"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("plugins"),
]

ALL = {**OFFERED, "allowed_tools": ["letters", "hangs", "waits"]}


class Running:
    """A response of which a tool runs, streamed or not."""

    def __init__(self, path: Path, *, stream: bool = False) -> None:
        self.path, self._stream = path, stream
        self.asking = asyncio.create_task(self._ask())

    async def _ask(self) -> dict[str, Any]:
        if not self._stream:
            return await respond(tools=[ALL])
        asked = {"model": "chat", "input": "How many?", "tools": [ALL], "stream": True}
        answer = await post("responses", asked)
        last = b""
        async for part in answer.streaming_content:
            last = part
        told: dict[str, Any] = json.loads(last.decode().partition("\ndata: ")[2])["response"]
        return told

    async def name(self) -> str:
        """Once the tool runs."""
        while not self.path.exists() or not self.path.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        first = await in_database(lambda: Message.objects.filter(role="assistant").earliest("id"))
        return f"resp_{first.id.hex}"

    def has_ended(self) -> bool:
        try:
            os.kill(int(self.path.read_text()), 0)
        except ProcessLookupError:
            return True
        return False

    def go(self) -> None:
        Path(f"{self.path}.go").touch()


def call_of(name: str, path: Path) -> str:
    return f'<tool_call>{{"name":"{name}","arguments":{{"path":"{path}"}}}}</tool_call>'


async def session_id() -> str:
    return str((await in_database(Session.objects.get)).id)


@pytest.mark.parametrize("stream", [True, False])
async def test_cancel_ends_the_tool_and_the_response(
    site: FakeEngine, tmp_path: Path, stream: bool
) -> None:
    site.script = script(CALL + call_of("hangs", tmp_path / "pid"), "Hello again.")
    running = Running(tmp_path / "pid", stream=stream)
    name = await running.name()
    assert (await got(name))["status"] == "in_progress"
    stopped = (await post(f"responses/{name}/cancel", {})).json()
    assert running.has_ended()
    assert stopped["status"] == "cancelled"
    done, ended = stopped["output"]
    assert (done["status"], done["output"]) == ("completed", GAVE)
    assert (ended["status"], ended["output"]) == ("incomplete", None)
    assert await running.asking == stopped == await got(name)
    assert len(site.requests) == 1
    again = await respond("Hello?", previous_response_id=name, tools=[])
    assert again["output"][0]["content"][0]["text"] == "Hello again."


async def test_cancel_is_answered_when_it_is_kept(
    site: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def write_late(*given: Any) -> Any:
        begun.set()
        await may_end.wait()
        return await write_database(*given)

    monkeypatch.setattr(course, "write_database", write_late)
    site.script = script(call_of("hangs", tmp_path / "pid"), "Never said.")
    running = Running(tmp_path / "pid")
    name = await running.name()
    cancelling = asyncio.create_task(post(f"responses/{name}/cancel", {}))
    await begun.wait()
    await asyncio.wait([cancelling], timeout=0.5)
    assert not cancelling.done()
    may_end.set()
    assert (await cancelling).json()["status"] == "cancelled"
    assert (await running.asking)["status"] == "cancelled"


async def test_delete_ends_the_tool(site: FakeEngine, tmp_path: Path) -> None:
    site.script = script(call_of("hangs", tmp_path / "pid"), "Never said.")
    running = Running(tmp_path / "pid", stream=True)
    name = await running.name()
    assert (await AsyncClient().delete(f"/v1/responses/{name}")).status_code == 200
    assert running.has_ended()
    assert (await running.asking)["status"] == "cancelled"
    assert await in_database(Session.objects.count) == 0
    assert len(site.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_ends_the_tool_and_the_response(
    site: FakeEngine, tmp_path: Path, stream: bool
) -> None:
    site.script = script(call_of("hangs", tmp_path / "pid"), "Never said.")
    running = Running(tmp_path / "pid", stream=stream)
    name = await running.name()
    running.asking.cancel()
    await asyncio.gather(running.asking, return_exceptions=True)
    assert running.has_ended()
    told = await got(name)
    assert (told["status"], told["output"][0]["status"]) == ("cancelled", "incomplete")
    assert len(site.requests) == 1


async def test_a_call_does_not_go_on_from_what_is_not_over(
    site: FakeEngine, tmp_path: Path
) -> None:
    site.script = script(call_of("waits", tmp_path / "pid"), "Three.")
    running = Running(tmp_path / "pid")
    more = {"model": "chat", "input": "More", "previous_response_id": await running.name()}
    assert error_of(await post("responses", more), 409)["code"] == "turn_in_progress"
    running.go()
    told = await running.asking
    assert (told["status"], told["output"][0]["output"]) == ("completed", "waited")
    assert (await post("responses", more)).status_code == 200


async def test_an_answer_begun_on_the_page_goes_first(site: FakeEngine, tmp_path: Path) -> None:
    gate = asyncio.Event()
    answers: list[list[Any]] = [[call_of("waits", tmp_path / "pid")], [gate, "Of the page."]]
    site.script = lambda request: answers.pop(0)
    running = Running(tmp_path / "pid")
    name = await running.name()
    said = {"input": "Hello", "model": "chat", "session_id": await session_id()}
    page = asyncio.create_task(post("/api/chat", said))
    await arrived(site, 2)
    running.go()
    with pytest.raises(AssertionError, match="turn_in_progress"):
        await running.asking
    gate.set()
    assert (await page).json()["response"] == "Of the page."
    told = await got(name)
    assert (told["status"], told["output"][0]["output"]) == ("failed", "waited")
    assert "still being written" in told["error"]["message"]


async def test_a_page_whose_answer_is_over_is_another_branch(
    site: FakeEngine, tmp_path: Path
) -> None:
    site.script = script(call_of("waits", tmp_path / "pid"), "Of the page.", "Three.")
    running = Running(tmp_path / "pid")
    name = await running.name()
    said = {"input": "Hello", "model": "chat", "session_id": await session_id()}
    assert (await post("/api/chat", said)).json()["response"] == "Of the page."
    running.go()
    told = await running.asking
    assert told["output"][-1]["content"][0]["text"] == "Three."
    assert told == await got(name)
    assert await in_database(Session.objects.count) == 1
    assert await in_database(Message.objects.count) == 6
