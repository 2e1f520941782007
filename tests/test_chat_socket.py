"""Frames of the wrong shape get an error frame, and the socket stays open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chat_client import LOOPBACK_HEADERS, Page, communicator
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

SUBMIT = {
    "v": 1,
    "type": "turn.submit",
    "client_id": "c",
    "session_id": None,
    "parent_id": None,
    "text": "x",
    "model": "chat",
}
OPEN = {"v": 1, "type": "session.open", "session_id": "0" * 32, "after": 0}


def but(frame: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**frame, **changes})


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("", None),
        ("not json", None),
        ("[" * 100_000, None),
        ("[]", None),
        ("null", None),
        ("{}", "v"),
        (but(SUBMIT, v=2), "v"),
        (but(SUBMIT, v="1"), "v"),
        (but(SUBMIT, v=True), "v"),
        (but(SUBMIT, type="turn.start"), "type"),
        (but(SUBMIT, type=None), "type"),
        (but(SUBMIT, type=["turn.submit"]), "type"),
        (but(SUBMIT, text=None), "text"),
        (but(SUBMIT, text=7), "text"),
        ('{"v":1,"type":"turn.submit","client_id":"c","text":"\\ud800","model":"chat"}', "text"),
        (but(SUBMIT, client_id=""), "client_id"),
        (but(SUBMIT, client_id="x" * 65), "client_id"),
        (but(SUBMIT, client_id=5), "client_id"),
        (but(SUBMIT, model=None), "model"),
        (but(SUBMIT, session_id="nonsense"), "session_id"),
        (but(SUBMIT, parent_id=12), "parent_id"),
        (but(SUBMIT, sampling=[1]), "sampling"),
        (but(OPEN, after=-1), "after"),
        (but(OPEN, after="0"), "after"),
        (but(OPEN, after=1.5), "after"),
        (but(OPEN, after=True), "after"),
        (but(OPEN, after=2**70), "after"),
        (but(OPEN, session_id=None), "session_id"),
        (but({"v": 1, "type": "turn.stop"}), "session_id"),
        (but({"v": 1, "type": "turn.continue", "session_id": "0" * 32}), "message_id"),
    ],
)
async def test_a_wrong_frame_is_answered_and_the_socket_stays_open(
    site: FakeEngine, text: str, param: str | None
) -> None:
    async with Page() as page:
        await page.socket.send_input({"type": "websocket.receive", "text": text})
        error = await page.receive()
        assert (error["v"], error["type"], error["code"]) == (1, "error", "invalid_request")
        assert error["fields"].get("param") == param
        await page.submit("Still here")
        assert (await page.until("message.end"))["status"] == "DONE"


async def test_a_binary_frame_is_answered_and_the_socket_stays_open(site: FakeEngine) -> None:
    async with Page() as page:
        await page.socket.send_to(bytes_data=b"\x00\xff")
        assert (await page.receive())["code"] == "invalid_request"
        await page.submit("Still here")
        assert (await page.until("message.end"))["status"] == "DONE"


async def test_an_error_names_the_message_it_is_about(site: FakeEngine) -> None:
    async with Page() as page:
        await page.socket.send_to(text_data=but(SUBMIT, model=None, client_id="mine"))
        assert (await page.receive())["client_id"] == "mine"


async def test_stop_is_heard_while_an_answer_streams_on_the_same_socket(site: FakeEngine) -> None:
    def endless(request: object) -> Any:
        while True:
            yield "more "

    site.script, site.delay = endless, 0.001
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        assert (await page.until("message.end"))["status"] == "STOPPED"


async def test_stopping_what_does_not_run_changes_nothing(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi")
        end = await page.until("message.end")
        await page.send("turn.stop", session_id=end["session_id"])
        await page.submit("Ho", session_id=end["session_id"], parent_id=end["message_id"])
        assert (await page.until("message.end"))["status"] == "DONE"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((b"accept-language", b"zh-CN,zh;q=0.9"), "先写点"),
        ((b"cookie", b"django_language=en"), "empty"),
    ],
)
async def test_errors_are_told_in_the_reader_s_language(
    site: FakeEngine, header: tuple[bytes, bytes], message: str
) -> None:
    page = Page()
    page.socket = communicator([*LOOPBACK_HEADERS, header])
    async with page:
        await page.submit(" ")
        assert message in (await page.receive())["message"]
