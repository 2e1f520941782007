"""Tools that the site runs: plugins, called by a model in a response, in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient

from chat.database import in_database
from chat.models import Generation, Message, Session
from chat.site_tools import chosen, process
from chat.site_tools.kinds import Ran
from tests.fake_engine import FakeEngine, prompt_text
from tests.site_tools import (
    ARGUMENTS,
    CALL,
    GAVE,
    OFFERED,
    got,
    plugins,
    respond,
    script,
    streamed,
)
from tests.v1_client import error_of, post

__all__ = ["plugins"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("plugins"),
]


async def test_a_model_calls_the_site_runs_the_model_goes_on(site: FakeEngine) -> None:
    site.script = script(f"I count.\n{CALL}", "Three.")
    told = await respond(instructions="Be kind.")
    first, call, last = told["output"]
    assert [item["content"][0]["text"] for item in (first, last)] == ["I count.", "Three."]
    assert (call["type"], call["name"], call["status"]) == ("mcp_call", "letters", "completed")
    assert (call["output"], call["error"], call["server_label"]) == (GAVE, None, "tinyllm")
    before, after = site.requests
    assert '"name": "letters", "description": "Count how often' in prompt_text(before)
    assert after.prompt_ids[: len(before.prompt_ids)] == before.prompt_ids
    result = f"user\n<tool_response>\n{GAVE}\n</tool_response>\nassistant\n"
    assert prompt_text(after).endswith(result)
    read = len(before.prompt_ids) + len(after.prompt_ids)
    assert told["usage"]["input_tokens"] == read
    # recorded: two turns of one session, and one response
    rows = await in_database(lambda: list(Message.objects.values_list("role", "content")))
    assert [role for role, _ in rows] == ["user", "assistant"] * 2
    assert rows[2][1] == f"<tool_response>\n{GAVE}\n</tool_response>"
    assert await in_database(Generation.objects.count) == 2
    assert await got(told["id"]) == told
    items = (await got(told["id"], "/input_items"))["data"]
    assert [item["content"][0]["text"] for item in items] == ["How many r?"]
    assert told["previous_response_id"] is None


async def test_a_stream_says_what_is_run(site: FakeEngine) -> None:
    site.script = script(CALL, "Three.")
    told = await streamed()
    final = told[-1]["response"]
    kinds = [each["type"].removeprefix("response.") for each in told]
    own = [kind for kind in kinds if "mcp_call" in kind]
    assert own == [
        "mcp_call_arguments.delta", "mcp_call_arguments.done", "mcp_call.in_progress",
        "mcp_call.completed",
    ]  # fmt: skip
    done = [each["item"] for each in told if each["type"] == "response.output_item.done"]
    assert done == final["output"]
    assert [item["type"] for item in done] == ["mcp_call", "message"]
    assert told[0]["response"]["id"] == final["id"]
    assert await got(final["id"]) == final


async def test_the_next_call_goes_on_and_deleting_takes_all_rounds(site: FakeEngine) -> None:
    site.script = script("Hello.", CALL, CALL, "Three.", "Bye.")
    hello = await respond("Hello", tools=[])
    told = await respond(previous_response_id=hello["id"])
    assert [item["type"] for item in told["output"]] == ["mcp_call", "mcp_call", "message"]
    assert len({item["id"] for item in told["output"]}) == 3
    bye = await respond("Bye", previous_response_id=told["id"], tools=[])
    assert "Three.\nuser\nBye\n" in prompt_text(site.requests[-1])
    told_again = await got(bye["id"])
    assert told_again["previous_response_id"] == told["id"]
    assert (await got(told["id"]))["previous_response_id"] == hello["id"]
    await AsyncClient().delete(f"/v1/responses/{told['id']}")
    assert await in_database(Message.objects.count) == 2
    assert (await got(hello["id"]))["id"] == hello["id"]


async def test_a_call_that_is_insisted_on_is_so_once(site: FakeEngine) -> None:
    site.script = script(f'{{"name":"letters","arguments":{ARGUMENTS}}}', "Three.")
    told = await respond(tool_choice="required")
    assert [item["type"] for item in told["output"]] == ["mcp_call", "message"]
    assert told["output"][0]["output"] == GAVE
    assert [bool(request.sampling.constraint) for request in site.requests] == [True, False]
    assert await got(told["id"]) == told


async def test_a_model_that_only_calls_comes_to_an_end(site: FakeEngine) -> None:
    site.script = script(CALL)
    told = await respond()
    assert len(site.requests) == 8
    statuses = [item["status"] for item in told["output"]]
    assert statuses == [*["completed"] * 7, "incomplete"]
    assert await got(told["id"]) == told
    assert await in_database(Session.objects.count) == 1


async def test_what_fails_is_told_to_the_model(site: FakeEngine) -> None:
    site.script = script('<tool_call>{"name": "letters", "arguments": {"a": 1}}</tool_call>', "Oh.")
    call = (await respond())["output"][0]
    assert (call["status"], call["output"]) == ("failed", None)
    assert "TypeError" in call["error"]["content"][0]["text"]
    assert "<tool_response>\nError: TypeError" in prompt_text(site.requests[1])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("prints", Ran("told\N{REPLACEMENT CHARACTER}?")),
        ("long", Ran("what it gave has 30000 characters, and at most 20000 are read", failed=True)),
        ("number", Ran("it gave int, not a text", failed=True)),
        ("dies", Ran("it ended with exit status 3", failed=True)),
        ("environment", Ran("LANG")),
    ],
)
async def test_a_tool_has_limits(name: str, wanted: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYLLM_ENCRYPTION_KEYS", "very secret")
    assert await process.run(name, "{}") == wanted
    assert (await process.run(name, "[]")).failed


async def test_a_tool_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 0.1)
    assert await process.run("hangs", "") == Ran("it did not end within 0.1 seconds", failed=True)


async def test_who_leaves_takes_the_tool_along(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    running = asyncio.create_task(process.run("hangs", json.dumps({"path": str(file)})))
    while not file.exists() or not file.read_text():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


async def test_what_is_refused(site: FakeEngine, settings: Any) -> None:
    function = {"type": "function", "name": "f"}
    for tools, param in (
        ([{**OFFERED, "allowed_tools": ["spoons"]}], "tools[0].allowed_tools"),
        ([{**OFFERED, "server_label": "other"}], "tools[0].server_label"),
        ([{**OFFERED, "require_approval": "always"}], "tools[0].require_approval"),
        ([{**OFFERED, "server_url": "http://x"}], "tools[0].server_url"),
        ([OFFERED, function], "tools"),
    ):
        asked = {"model": "chat", "input": "Hi", "tools": tools}
        assert error_of(await post("responses", asked), 400)["param"] == param
    passing = {"model": "chat", "input": "Hi", "tools": [OFFERED], "store": False}
    assert error_of(await post("responses", passing), 400)["param"] == "store"
    settings.TINYLLM_TOOLS = []
    chosen.tools.cache_clear()
    asked = {"model": "chat", "input": "Hi", "tools": [OFFERED]}
    assert "It runs: none" in error_of(await post("responses", asked), 400)["message"]
    assert site.requests == []


def test_what_cannot_be_a_tool_is_named(settings: Any) -> None:
    for name, found in (("spoons", "Installed: dies, environment"), ("mute", "tool mute")):
        settings.TINYLLM_TOOLS = [name]
        chosen.tools.cache_clear()
        with pytest.raises(ImproperlyConfigured, match=found):
            chosen.tools()
