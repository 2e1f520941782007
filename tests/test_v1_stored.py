"""Responses that are kept: sessions of their caller, gone on from, read, stopped and deleted."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.generation import turns
from chat.models import Generation, Message, SearchText, Session, User
from inference.errors import QueueFull
from tests.fake_engine import FakeEngine, prompt_text
from tests.response_client import response_to
from tests.v1_client import arrived, error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def respond(said: Any = "Hello", **body: Any) -> dict[str, Any]:
    return await response_to({"model": "chat", "input": said, **body})


async def call(method: str, path: str) -> Any:
    ask = getattr(AsyncClient(), method)
    kind = {"content_type": "application/json"} if method == "post" else {}
    return await ask(f"/v1/responses/{path}", **kind)


async def test_the_next_call_remembers_and_reads_only_what_is_new(site: FakeEngine) -> None:
    first = await respond(instructions="Be kind.", metadata={"a": "b"}, max_output_tokens=99)
    second = await respond("More", previous_response_id=first["id"], instructions="Be kind.")
    one, two = site.requests
    assert prompt_text(two) == (
        "system\nBe kind.\nuser\nHello\nassistant\nYou said: Hello\nuser\nMore\nassistant\n"
    )
    assert two.prompt_ids[: len(one.prompt_ids)] == one.prompt_ids
    assert one.session == two.session
    assert second["previous_response_id"] == first["id"]
    got = (await call("get", first["id"])).json()
    assert got == first
    assert (got["metadata"], got["max_output_tokens"]) == ({"a": "b"}, 99)
    shown = (await AsyncClient().get("/api/sessions")).json()
    assert [(each["id"], each["title"]) for each in shown] == [(one.session, "Hello")]


async def test_instructions_hold_once_and_a_system_message_always(site: FakeEngine) -> None:
    front = {"role": "developer", "content": "Rhyme."}
    first = await respond([front, {"role": "user", "content": "Hello"}], instructions="Be kind.")
    await respond("More", previous_response_id=first["id"])
    start = [prompt_text(request).partition("user\n")[0] for request in site.requests]
    assert start == ["system\nBe kind.\n\nRhyme.\n", "system\nRhyme.\n"]
    session = await in_database(Session.objects.get)
    assert session.settings == {"system_prompt": "Rhyme."}


async def test_without_store_the_past_is_read_and_nothing_is_written(site: FakeEngine) -> None:
    first = await respond()
    second = await respond("More", previous_response_id=first["id"], store=False)
    assert "You said: Hello\nuser\nMore" in prompt_text(site.requests[1])
    assert (second["store"], second["previous_response_id"]) == (False, first["id"])
    assert (await call("get", second["id"])).status_code == 404
    assert await in_database(Message.objects.count) == 2


async def test_two_may_go_on_from_one(site: FakeEngine) -> None:
    first = await respond()
    left = await respond("Left", previous_response_id=first["id"])
    right = await respond("Right", previous_response_id=first["id"])
    assert "Left" not in prompt_text(site.requests[2])
    assert left["previous_response_id"] == right["previous_response_id"] == first["id"]
    assert await in_database(Session.objects.count) == 1


async def test_what_came_with_the_call_is_kept_found_and_listed(site: FakeEngine) -> None:
    past = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]
    first = await respond(past)
    items = (await call("get", f"{first['id']}/input_items?order=asc")).json()
    said = [(item["role"], item["content"][0]["text"]) for item in items["data"]]
    assert said == [("user", "One"), ("assistant", "Two"), ("user", "Three")]
    assert items["has_more"] is False
    newest = (await call("get", f"{first['id']}/input_items?limit=1")).json()
    assert newest["data"] == items["data"][-1:]
    rest = (await call("get", f"{first['id']}/input_items?after={newest['last_id']}")).json()
    assert rest["data"] == items["data"][1::-1]
    assert newest["has_more"] is True
    assert error_of(await call("get", f"{first['id']}/input_items?limit=0"), 400)
    assert await in_database(SearchText.objects.filter(text="Two").count) == 1


async def test_deleting_takes_what_follows_and_leaves_what_was_before(site: FakeEngine) -> None:
    first = await respond()
    second = await respond("More", previous_response_id=first["id"])
    third = await respond("Most", previous_response_id=second["id"])
    told = (await call("delete", second["id"])).json()
    assert told == {"id": second["id"], "object": "response", "deleted": True}
    for gone in (second, third):
        assert error_of(await call("get", gone["id"]), 404)["code"] == "response_not_found"
    assert (await call("get", first["id"])).status_code == 200
    texts = await in_database(lambda: sorted(Message.objects.values_list("content", flat=True)))
    assert texts == ["Hello", "You said: Hello"]
    await call("delete", first["id"])
    assert await in_database(Session.objects.count) == 0


async def test_an_answer_that_is_written_is_cancelled_or_deleted(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: ["words ", gate]
    for verb in ("cancel", "delete"):
        begun = asyncio.create_task(respond())
        await arrived(site, 1)
        live = None
        while live is None or not live.text:
            sessions = await in_database(lambda: list(Session.objects.values_list("id", flat=True)))
            live = turns().get(sessions[-1]) if sessions else None
        name = f"resp_{live.started.message_id.hex}"
        assert (await call("get", name)).json()["status"] == "in_progress"
        verbs = {"cancel": ("post", f"{name}/cancel"), "delete": ("delete", name)}
        answer = await call(*verbs[verb])
        assert answer.status_code == 200
        if verb == "cancel":
            body = answer.json()
            assert body["status"] == "cancelled"
            assert body["output"][0]["content"][0]["text"] == "words "
            assert (await begun)["status"] == "cancelled"
            await call("delete", name)
        await asyncio.gather(begun, return_exceptions=True)
        assert await in_database(Session.objects.count) == 0
        site.requests.clear()


async def test_a_refusal_of_the_engine_is_a_status_and_a_failed_response(site: FakeEngine) -> None:
    site.script = lambda request: [QueueFull("Full.", waiting=3, limit=3, retry_after_s=3)]
    for stream in (False, True):
        body = {"model": "chat", "input": "Hello", "stream": stream}
        answer = await post("responses", body)
        assert error_of(answer, 503)["code"] == "queue_full"
        assert answer["Retry-After"] == "3"
    row = await in_database(lambda: Generation.objects.latest("created_at"))
    told = (await call("get", f"resp_{row.message_id.hex}")).json()
    assert (told["status"], told["error"]["code"]) == ("failed", "server_error")


async def test_an_answer_of_the_page_is_a_response_too(site: FakeEngine) -> None:
    said = {"input": "Hello", "model": "chat"}
    answer = (await post("/api/chat", said)).json()
    name = f"resp_{uuid.UUID(answer['message_id']).hex}"
    got = (await call("get", name)).json()
    assert (got["output"][0]["content"][0]["text"], got["metadata"]) == ("You said: Hello", {})
    await respond("More", previous_response_id=name)
    exported = (await AsyncClient().get(f"/api/sessions/{answer['session_id']}/export")).json()
    requests = [g["request"] for m in exported["messages"] for g in m["generations"]]
    assert [each and each["metadata"] for each in requests] == [None, {}]


async def test_another_callers_response_is_not_there(site: FakeEngine) -> None:
    mine = await respond()

    def given_away() -> None:
        Session.objects.update(owner=User.objects.create_user("eve"))

    await in_database(given_away)
    for path in (mine["id"], "resp_nothing", f"resp_{uuid.uuid4().hex}"):
        for method, address in (
            ("get", path),
            ("delete", path),
            ("post", f"{path}/cancel"),
            ("get", f"{path}/input_items"),
        ):
            error = error_of(await call(method, address), 404)
            assert error["code"] == "response_not_found"
        for store in (True, False):
            asked = {"model": "chat", "input": "Hi", "previous_response_id": path, "store": store}
            assert error_of(await post("responses", asked), 404)["code"] == "response_not_found"
    assert len(site.requests) == 1
    assert await in_database(Message.objects.count) == 2


async def test_other_methods_are_refused_by_name(site: FakeEngine) -> None:
    answer = await AsyncClient().put("/v1/responses/resp_1", "{}")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, DELETE")
    assert error_of(await call("get", "resp_1?stream=true"), 400)["param"] == "stream"


async def test_answers_at_once_are_counted_whether_kept_or_not(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_CONCURRENT_TURNS = 2
    gate = asyncio.Event()
    site.script = lambda request: ["words ", gate]
    chat: Any = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    held = [asyncio.create_task(post("chat/completions", chat))]
    await arrived(site, 1)
    for path, body in (
        ("chat/completions", {**chat, "n": 2}),
        ("chat/completions", {**chat, "n": 2, "stream": True}),
    ):
        error = error_of(await post(path, body), 429)
        assert error["code"] == "too_many_turns"
    held.append(asyncio.create_task(post("responses", {"model": "chat", "input": "Hi"})))
    await arrived(site, 2)
    usage = (await AsyncClient().get("/api/usage")).json()
    assert (usage["running"], usage["concurrent_turns"]) == (2, 2)
    asked: tuple[tuple[str, Any], ...] = (
        ("chat/completions", chat),
        ("responses", {"model": "chat", "input": "Hi"}),
        ("responses", {"model": "chat", "input": "Hi", "store": False}),
        ("/api/chat", {"input": "Hi", "model": "chat"}),
    )
    for path, body in asked:
        answer = await post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_turns")
        assert answer["Retry-After"] == "5"
    gate.set()
    for task in held:
        assert (await task).status_code == 200
    assert len(site.requests) == 2
    assert json.loads((await AsyncClient().get("/api/usage")).content)["running"] == 0
    assert (await post("chat/completions", {**chat, "n": 2})).status_code == 200
