"""The stored API: sessions, messages as a tree, records, and what is done with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.database import in_database
from chat.folders import folder_create
from chat.identity import local_user
from chat.models import Message
from tests.api_v1_client import NOBODYS, call, frames, refused, say, session, told, tree
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def test_a_session_is_made_read_changed_and_deleted(site: FakeEngine) -> None:
    made = await told("post", "sessions", {"title": " A  title "}, status=201)
    assert (made["title"], made["model"], made["shown"], made["last_event"]) == (
        "A title", "chat", None, 0,
    )  # fmt: skip
    path = f"sessions/{made['id']}"
    assert await told("get", path) == made
    changed = await told("patch", path, {"title": "Another", "pinned": True})
    assert (changed["title"], changed["pinned"], changed["deleted"]) == ("Another", True, False)
    assert await told("delete", path, status=204) is None
    assert (await refused("get", path))[:2] == (404, "session_not_found")


async def test_what_is_said_first_names_a_session_that_has_no_title(site: FakeEngine) -> None:
    unnamed, named = await session(), await session(title="Mine")
    await say(unnamed, "Hello there")
    await say(named, "Hello there")
    assert (await told("get", f"sessions/{unnamed}"))["title"] == "Hello there"
    assert (await told("get", f"sessions/{named}"))["title"] == "Mine"


async def test_settings_hold_from_the_next_answer_on(site: FakeEngine) -> None:
    made = await session(settings={"temperature": 0.25, "system_prompt": "Be brief."})
    await say(made, "One")
    assert site.requests[-1].sampling.temperature == 0.25
    path = f"sessions/{made}/settings"
    saved = await told("put", path, {"settings": {"temperature": 0.75}})
    assert saved == await told("get", path)
    assert (saved["settings"], saved["defaults"]["temperature"]) == ({"temperature": 0.75}, 0.5)
    await say(made, "Two")
    assert site.requests[-1].sampling.temperature == 0.75
    assert (await refused("put", path, {"settings": {"temperature": 9}}))[:3] == (
        400, "invalid_setting", "temperature",
    )  # fmt: skip


async def test_an_answer_comes_whole_with_its_numbers_and_its_record(site: FakeEngine) -> None:
    made = await session()
    answer = await say(made, "Hello", seed=7, temperature=0.1)
    assert (answer["content"], answer["status"], answer["seed"]) == ("You said: Hello", "DONE", 7)
    state = await told("get", f"sessions/{made}")
    assert (state["shown"], state["running"]) == (answer["id"], None)
    assert await told("get", f"sessions/{made}/messages/{answer['id']}") == answer
    record = await told("get", f"generations/{answer['generations'][0]}")
    assert (record["session_id"], record["message_id"]) == (made, answer["id"])
    assert (record["seed"], record["sampling"]["temperature"]) == (7, 0.1)
    assert (record["usage"], record["timings"]) == (answer["usage"], answer["timings"])
    assert (record["engine"]["backend"], record["finish_reason"]) == ("scripted", "stop")
    assert not {"prompt_ids", "output_ids"} & set(record)


async def test_an_answer_comes_as_frames_and_the_stream_ends_with_it(site: FakeEngine) -> None:
    made = await session()
    body = {"input": "Hello there", "stream": True}
    seen = await frames(await call("post", f"sessions/{made}/messages", body))
    assert [seen[0]["type"], seen[-1]["type"]] == ["turn.started", "message.end"]
    text = "".join(frame["text"] for frame in seen if frame["type"] == "message.delta")
    assert text == "You said: Hello there"
    after = await told("get", f"sessions/{made}")
    assert after["last_event"] == seen[-1]["seq"]
    assert after["shown"] == seen[-1]["message_id"]


async def test_messages_are_a_tree_with_versions_and_a_branch_that_is_shown(
    site: FakeEngine,
) -> None:
    made = await session()
    first = await say(made, "One")
    question = first["parent_id"]
    path = f"sessions/{made}/messages"
    second = await told("post", f"{path}/{first['id']}/regenerate", {}, status=201)
    edited = await told("post", f"{path}/{question}/edit", {"input": "Two"}, status=201)
    rows = {row["id"]: row for row in await tree(made)}
    assert list(rows) == [question, first["id"], second["id"], edited["parent_id"], edited["id"]]
    assert rows[first["id"]]["versions"] == [first["id"], second["id"]]
    assert rows[question]["versions"] == [question, edited["parent_id"]]
    shown = [edited["parent_id"], edited["id"]]
    assert [row["id"] for row in rows.values() if row["shown"]] == shown
    assert [row["id"] for row in await tree(made, "branch=shown")] == shown
    state = await told("put", f"sessions/{made}/branch", {"message_id": first["id"]})
    assert state["shown"] == first["id"]
    assert [row["id"] for row in await tree(made, "branch=shown")] == [question, first["id"]]


async def test_a_message_follows_what_is_shown_or_what_it_names(site: FakeEngine) -> None:
    made = await session()
    first = await say(made, "One")
    second = await say(made, "Two")
    beside = await say(made, "Three", parent_id=first["id"])
    apart = await say(made, "Four", parent_id=None)
    parents = {row["content"]: row["parent_id"] for row in await tree(made)}
    assert [parents[name] for name in ("One", "Two", "Three", "Four")] == [
        None, first["id"], first["id"], None,
    ]  # fmt: skip
    assert len({second["id"], beside["id"], apart["id"]}) == 3


async def test_a_message_that_comes_twice_is_said_once(site: FakeEngine) -> None:
    made = await session()
    first = await say(made, "One", client_id="mine")
    await say(made, "Two")
    again = await say(made, "One", client_id="mine")
    assert again["id"] == first["id"]
    body = {"input": "One", "client_id": "mine", "stream": True}
    seen = await frames(await call("post", f"sessions/{made}/messages", body))
    assert {frame["message_id"] for frame in seen[1:]} == {first["id"]}
    assert len(site.requests) == 2


async def test_an_answer_is_stopped_and_gone_on_with(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["Half. ", gate, "Never. "]
    made = await session()
    running = asyncio.create_task(say(made, "Go"))
    while not (await tree(made))[1:] or (await tree(made))[1]["content"] != "Half. ":  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert (await told("get", f"sessions/{made}"))["running"]
    stopped = await told("post", f"sessions/{made}/stop")
    answer = await running
    assert (stopped["message_id"], answer["status"]) == (answer["id"], "STOPPED")
    assert await told("post", f"sessions/{made}/stop") == {"message_id": None}
    site.script = lambda request: ["The rest."]
    path = f"sessions/{made}/messages/{answer['id']}/continue"
    whole = await told("post", path, {})
    assert (whole["content"], len(whole["generations"])) == ("Half. The rest.", 2)
    assert (await refused("post", path, {}))[:2] == (409, "cannot_continue")


async def test_what_fails_is_an_error_and_keeps_its_text(site: FakeEngine) -> None:
    site.script = lambda request: ["Half ", RuntimeError("on purpose")]
    made = await session()
    path = f"sessions/{made}/messages"
    assert (await refused("post", path, {"input": "Go"}))[:2] == (500, "internal_error")
    answer = (await tree(made))[1]
    assert (answer["content"], answer["status"], answer["can_continue"]) == (
        "Half ", "FAILED", True,
    )  # fmt: skip


async def test_sessions_come_in_pages_the_pinned_ones_first(site: FakeEngine) -> None:
    made = [await session(title=str(number)) for number in range(5)]
    await told("patch", f"sessions/{made[1]}", {"pinned": True})
    await told("patch", f"sessions/{made[2]}", {"archived": True})
    first = await told("get", "sessions?limit=2")
    assert [row["title"] for row in first["data"]] == ["1", "4", "3"]
    last = await told("get", f"sessions?limit=2&cursor={first['next_cursor'].replace('+', '%2B')}")
    assert ([row["title"] for row in last["data"]], last["next_cursor"]) == (["0"], None)
    full = await told("get", "sessions?limit=3")
    assert (len(full["data"]), full["next_cursor"]) == (4, None)
    away = await told("get", "sessions?archived=true")
    assert [row["title"] for row in away["data"]] == ["2"]
    owner = await in_database(local_user)
    folder = await in_database(folder_create, owner_id=owner.id, name="F")
    await told("patch", f"sessions/{made[0]}", {"folder": str(folder.id)})
    inside = await told("get", f"sessions?folder={folder.id}")
    assert [row["title"] for row in inside["data"]] == ["0"]


async def test_messages_come_in_pages(site: FakeEngine) -> None:
    made = await session()
    for text in ("One", "Two", "Three"):
        await say(made, text)
    path, seen = f"sessions/{made}/messages?limit=4", []
    cursor: str | None = ""
    while cursor is not None:
        page = await told("get", f"{path}&cursor={cursor}")
        seen.append([row["content"] for row in page["data"]])
        cursor = page["next_cursor"]
    assert seen == [["One", "You said: One", "Two", "You said: Two"], ["Three", "You said: Three"]]


async def test_search_fork_share_rate_and_usage(site: FakeEngine) -> None:
    made = await session(title="Ours")
    answer = await say(made, "Nightingale")
    path = f"sessions/{made}/messages/{answer['id']}"
    hits = (await told("get", "search?q=nightingale"))["data"]
    assert {hit["session_id"] for hit in hits} == {made}
    forked = await told("post", f"{path}/fork", status=201)
    assert forked["forked_from_id"] == answer["id"]
    assert (await tree(forked["id"]))[0]["content"] == "Nightingale"
    await told("put", f"{path}/rating", {"value": -1, "comment": "A bird?"})
    rated = await told("get", path)
    assert (rated["rating"], rated["comment"]) == (-1, "A bird?")
    await told("delete", f"{path}/rating", status=204)
    assert (await told("get", path))["rating"] == 0
    link = await told("post", f"sessions/{made}/shares", {"days": 1}, status=201)
    assert link["path"].startswith("/shared/")
    (listed,) = (await told("get", "shares"))["data"]
    assert (listed["id"], "path" in listed) == (link["id"], False)
    await told("delete", f"shares/{link['id']}", status=204)
    assert (await told("get", "shares"))["data"] == []
    usage = await told("get", "usage")
    assert usage["used"] == usage["days"][0]["prompt_tokens"] + usage["days"][0]["output_tokens"]


NAMING_NOTHING = [
    ("get", "sessions/{id}", "session_not_found"),
    ("patch", "sessions/{id}", "session_not_found"),
    ("delete", "sessions/{id}", "session_not_found"),
    ("get", "sessions/{id}/messages", "session_not_found"),
    ("post", "sessions/{id}/messages", "session_not_found"),
    ("post", "sessions/{id}/stop", "session_not_found"),
    ("get", "sessions/{id}/events", "session_not_found"),
    ("get", "sessions/{session}/messages/{id}", "message_not_found"),
    ("post", "sessions/{session}/messages/{id}/edit", "message_not_found"),
    ("post", "sessions/{session}/messages/{id}/regenerate", "message_not_found"),
    ("post", "sessions/{session}/messages/{id}/continue", "message_not_found"),
    ("post", "sessions/{session}/messages/{id}/fork", "message_not_found"),
    ("put", "sessions/{session}/messages/{id}/rating", "message_not_found"),
    ("get", "generations/{id}", "generation_not_found"),
    ("delete", "shares/{id}", "share_link_not_found"),
]


async def test_an_id_that_names_nothing_is_404_with_the_id(site: FakeEngine) -> None:
    made = await session()
    for method, path, code in NAMING_NOTHING:
        for name in (NOBODYS, "nonsense"):
            body = {"input": "x", "value": 1} if method in ("post", "put", "patch") else None
            asked = path.format(id=name, session=made)
            status, found, _param, message = await refused(method, asked, body)
            assert (status, found, name in message) == (404, code, True), asked


BAD: list[tuple[str, str, Any, int, str, str | None]] = [
    ("post", "sessions", {"model": "gpt-9"}, 404, "model_not_found", None),
    ("post", "sessions", {"title": " "}, 400, "invalid_request", "title"),
    ("post", "sessions", {"settings": {"speed": 1}}, 400, "invalid_request", "speed"),
    ("get", "sessions?limit=0", None, 400, "invalid_request", "limit"),
    ("get", "sessions?limit=101", None, 400, "invalid_request", "limit"),
    ("get", "sessions?cursor=x", None, 400, "invalid_request", "cursor"),
    ("get", "sessions?folder=x", None, 404, "folder_not_found", "folder"),
    ("get", "sessions/{id}/messages?cursor=x", None, 400, "invalid_request", "cursor"),
    ("get", "sessions/{id}/messages?branch=x", None, 400, "invalid_request", "branch"),
    ("post", "sessions/{id}/messages", {}, 400, "invalid_request", "input"),
    ("post", "sessions/{id}/messages", {"input": ""}, 400, "empty_input", "input"),
    ("get", "search?q=", None, 400, "invalid_request", "q"),
    ("get", "search", None, 400, "invalid_request", "q"),
]


async def test_bad_input_is_named_and_writes_nothing(site: FakeEngine) -> None:
    made = await session()
    for method, path, body, status, code, param in BAD:
        found = await refused(method, path.format(id=made), body)
        assert found[:3] == (status, code, param), (path, body, found)
    assert await in_database(Message.objects.count) == 0
    assert len((await told("get", "sessions"))["data"]) == 1


async def test_only_a_message_of_the_user_s_is_edited(site: FakeEngine) -> None:
    made = await session()
    answer = await say(made, "One")
    path = f"sessions/{made}/messages/{answer['id']}/edit"
    assert (await refused("post", path, {"input": "x"}))[:3] == (
        400, "invalid_request", "message_id",
    )  # fmt: skip
