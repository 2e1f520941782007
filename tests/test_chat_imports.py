"""Import: our own export comes back as it was, ChatGPT's with its branches, and bad entries are
named without harm to the others."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.errors import InvalidRequest
from chat.imports.reader import entries, objects
from chat.models import Feedback, Message, Session
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.test_chat_export import talked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def imported(data: bytes, kind: str = "application/json") -> dict[str, Any]:
    answer: Any = await AsyncClient().post("/api/import", data, content_type=kind)
    assert answer.status_code == 200, answer.content
    lines = "".join([part.decode() async for part in answer.streaming_content]).splitlines()
    answer.close()
    reports = [json.loads(line) for line in lines]
    assert [report["done"] for report in reports] == [False] * (len(reports) - 1) + [True]
    last: dict[str, Any] = reports[-1]
    return last


async def exported(session: str) -> dict[str, Any]:
    told: dict[str, Any] = (await AsyncClient().get(f"/api/sessions/{session}/export")).json()
    return told


def nameless(told: dict[str, Any]) -> dict[str, Any]:
    """An export with each message's id replaced by its place, and without ids of rows."""
    places = {message["id"]: n for n, message in enumerate(told["messages"])}
    head = {key: value for key, value in told["session"].items() if key != "id"}
    messages = [
        {
            **message,
            "id": places[message["id"]],
            "parent_id": places.get(message["parent_id"]),
            "generations": [{**each, "id": 0} for each in message["generations"]],
        }
        for message in told["messages"]
    ]
    return {**told, "session": head, "messages": messages, "shown": places[told["shown"]]}


async def test_an_export_comes_back_as_it_was(site: FakeEngine) -> None:
    session = await talked()
    answer = (await exported(session))["messages"][1]["id"]
    body = json.dumps({"value": -1, "comment": "太短"})
    path = f"/api/sessions/{session}/messages/{answer}/rating"
    await AsyncClient().put(path, body, content_type="application/json")
    path = f"/api/sessions/{session}/branch"
    await AsyncClient().put(
        path, json.dumps({"message_id": answer}), content_type="application/json"
    )
    told = await exported(session)
    report = await imported(json.dumps(told).encode())
    assert (report["sessions"], report["messages"], report["skipped"]) == (1, 8, 0)
    listed = (await AsyncClient().get("/api/sessions")).json()
    (copy,) = [each["id"] for each in listed if each["id"] != session]
    assert nameless(await exported(copy)) == nameless(told)
    assert await in_database(Feedback.objects.count) == 2
    hits = (await AsyncClient().get("/api/search", {"q": "Instead"})).json()
    assert {hit["session_id"] for hit in hits} == {session, copy}
    # a second time it is here already
    report = await imported(json.dumps(told).encode())
    assert (report["sessions"], report["skipped"]) == (0, 1)
    assert report["named"][0]["reason"] == "It was imported before."
    assert report["named"][0]["title"] == "Über Brot/面包"


async def test_an_imported_conversation_goes_on(site: FakeEngine) -> None:
    """Its tokens are not in the file, so its text is read again."""
    told = await exported(await talked())
    told["session"]["id"] = "elsewhere"
    await imported(json.dumps(told).encode())
    session = await in_database(lambda: Session.objects.latest("created_at"))
    shown = (await AsyncClient().get(f"/api/sessions/{session.id}")).json()["messages"]
    async with Page() as page:
        await page.submit("And now?", session_id=str(session.id), parent_id=shown[-1]["id"])
        assert (await page.until("message.end"))["status"] == "DONE"
    prompt = bytes(byte for byte in site.requests[-1].prompt_ids if byte < 256).decode()
    assert all(message["content"] in prompt for message in shown)


def node(key: str, parent: str | None, role: str, text: Any, **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    message = {"author": {"role": role}, "content": content, "create_time": None, **fields}
    return {"id": key, "parent": parent, "children": [], "message": message}


def conversation(key: str, title: Any = "A chat", **fields: Any) -> dict[str, Any]:
    """Two answers to one question, of which the first is shown, with a tool's noise between."""
    code = {"content_type": "code", "text": "search()"}
    picture = {"content_type": "multimodal_text", "parts": [{"asset": 1}, "Look"]}
    nodes = [
        {"id": "root", "parent": None, "children": ["system"], "message": None},
        node("system", "root", "system", "Be nice"),
        node("question", "system", "user", "", content=picture, create_time=1_700_000_000.5),
        node("call", "question", "assistant", "", content=code, recipient="browser"),
        node("tool", "call", "tool", "result"),
        node("first", "tool", "assistant", "First \ud83d\ude00", create_time=1_700_000_010),
        node("second", "question", "assistant", "Second", create_time=1_700_000_020),
        node("more", "first", "user", "More"),
    ]
    mapping = {each["id"]: each for each in nodes}
    its = {"title": title, "mapping": mapping, "current_node": "more", "conversation_id": key}
    return {**its, "create_time": 1_700_000_000, "update_time": 1_700_000_030, **fields}


async def test_chatgpt_s_tree_is_taken_without_its_noise(site: FakeEngine) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("conversations.json", json.dumps([conversation("one")]))
    report = await imported(packed.getvalue(), "application/zip")
    numbers = {name: report[name] for name in ("sessions", "messages", "left_out", "skipped")}
    assert numbers == {"sessions": 1, "messages": 4, "left_out": 3, "skipped": 0}
    session = await in_database(Session.objects.get)
    assert (session.title, session.model) == ("A chat", "chat")
    assert session.created_at.timestamp() == 1_700_000_000
    assert session.updated_at.timestamp() == 1_700_000_030
    shown = (await AsyncClient().get(f"/api/sessions/{session.id}")).json()["messages"]
    assert [message["content"] for message in shown] == ["Look", "First 😀", "More"]
    assert [len(message["versions"]) for message in shown] == [1, 2, 1]
    asked = await in_database(lambda: Message.objects.get(content="Look"))
    assert asked.created_at.timestamp() == 1_700_000_000.5
    times = [datetime.fromisoformat(message["created_at"]) for message in shown]
    assert times == sorted(times), "what has no time of its own comes after what it follows"


async def test_bad_entries_are_named_and_the_others_taken(site: FakeEngine) -> None:
    circle = conversation("circle", "Circle")
    circle["mapping"]["root"]["parent"] = "more"
    bad: list[Any] = [
        circle,
        conversation("empty", "Empty", mapping={}),
        conversation("list", "List", mapping={"a": []}),
        {"title": "Unknown"},
        {"schema": "tinyllm.session", "version": 99, "session": {"title": "Future"}},
        conversation("odd", title=7),
    ]
    good = [conversation("one"), conversation("odd node", current_node=["no"])]
    text = json.dumps([good[0], *bad, good[1]])
    report = await imported(text.replace("Unknown", "Unknown \\ud800").encode())
    assert (report["sessions"], report["skipped"], report["error"]) == (2, len(bad), None)
    assert [named["number"] for named in report["named"]] == [2, 3, 4, 5, 6, 7]
    assert [named["title"] for named in report["named"]][:3] == ["Circle", "Empty", "List"]
    assert all(named["reason"] for named in report["named"])
    assert await in_database(Session.objects.count) == 2


async def test_what_was_read_before_the_file_broke_off_stays(site: FakeEngine) -> None:
    text = json.dumps([conversation("one"), conversation("two")])
    report = await imported(text[:-40].encode())
    assert report["sessions"] == 1
    assert "ends in the middle" in report["error"]


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"hello", "application/json", "neither JSON nor a zip"),
        (b"", "application/json", "neither JSON nor a zip"),
        (b"[\xff]", "application/json", "not UTF-8"),
        (b"PK\x03\x04 broken", "application/zip", "cannot be read"),
    ],
)
async def test_what_is_no_export_is_said(
    site: FakeEngine, data: bytes, kind: str, said: str
) -> None:
    assert said in (await imported(data, kind))["error"]


async def test_another_content_type_is_refused(site: FakeEngine) -> None:
    """A page of another site can send a form, or text."""
    for kind in ("text/plain", "multipart/form-data; boundary=x"):
        answer = await AsyncClient().post("/api/import", b"[]", content_type=kind)
        assert answer.status_code == 415
    answer = await AsyncClient().post("/api/chat", b"PK", content_type="application/zip")
    assert answer.status_code == 415


EMPTY = "[ {} ]"  # an entry too, for its reader to refuse
TRICKY = ['{"a": "}]\\"{"}', '{"b": [1, {"c": "\\\\"}]}', "{}"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_objects_are_cut_wherever_the_pieces_end(size: int) -> None:
    text = f' [ {TRICKY[0]}, 7, "{{", {TRICKY[1]} ,{EMPTY}, {TRICKY[2]}]\n'
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(objects(pieces)) == [*TRICKY[:2], EMPTY, TRICKY[2]]
    assert list(objects([TRICKY[1]])) == [TRICKY[1]]


def test_an_entry_that_is_too_long_is_passed_over() -> None:
    text = json.dumps([{"a": "x" * 100}, {"b": 1}])
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    assert list(objects(pieces, most=50)) == [None, '{"b": 1}']


class Endless(io.RawIOBase):
    """A file of so many conversations, made as it is read."""

    def __init__(self, count: int) -> None:
        one = json.dumps(conversation("one") | {"padding": "x" * 100_000})
        self.all = [b"[", *[f"{one},".encode()] * count, b"{}]"]
        self.seek()

    def read(self, size: int = -1) -> bytes:
        return next(self.parts, b"")

    def seek(self, *_: Any) -> int:
        self.parts: Iterator[bytes] = iter(self.all)
        return 0


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        file: Any = Endless(count)
        assert len([None for _ in entries(file)]) == count + 1
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)
    assert peak(300) < 2 * peak(30)


def test_a_zip_without_conversations_is_said() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("other.json", "[]")
    packed.seek(0)
    with pytest.raises(InvalidRequest, match=r"no conversations\.json"):
        list(entries(packed))
