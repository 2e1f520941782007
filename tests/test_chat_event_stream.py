"""Server-sent events from the real server: live, cut off, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat_client import Shown
from tests.server_process import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.fake_engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(Path(tmp_path_factory.mktemp("server"))).migrate().start()
    yield made
    assert made.end() == 0


def frames(answer: httpx.Response) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """(id, frame) of each event; comments left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, value = line.split(": ", 1)
            fields[name] = value
        elif fields:
            yield fields.get("id"), json.loads(fields["data"])
            fields = {}


@pytest.mark.parametrize("every", [1, 4])
def test_a_stream_cut_off_after_every_kth_event_misses_nothing(
    server: ServerProcess, every: int
) -> None:
    first = httpx.post(f"{server.url}/api/chat", json={"input": "Hi"}, timeout=PATIENCE_S).json()
    text = " ".join(f"word{number}" for number in range(60))
    address = f"{server.url}/api/sessions/{first['session_id']}/events"
    body = {"input": text, "session_id": first["session_id"]}
    said = httpx.post(f"{server.url}/api/chat", json=body, timeout=PATIENCE_S).json()
    shown, last, ended = Shown(), "0", False
    while not ended:
        with httpx.stream(
            "GET", address, headers={"last-event-id": last}, timeout=PATIENCE_S
        ) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            for read, (number, frame) in enumerate(frames(answer)):
                if number is not None:
                    last = number
                    shown.apply(frame)
                ended = frame.get("message_id") == said["message_id"] and (
                    frame["type"] == "message.end"
                )
                if ended or read == every:
                    break
    assert shown.texts[said["message_id"]] == said["response"] == f"You said: {text}"
    assert shown.seqs == sorted(set(shown.seqs))


def test_a_stream_follows_a_turn_that_begins_later(server: ServerProcess) -> None:
    made = httpx.post(f"{server.url}/api/chat", json={"input": "Hi"}, timeout=PATIENCE_S).json()
    address = f"{server.url}/api/sessions/{made['session_id']}/events"
    shown = Shown()
    with httpx.stream("GET", address, timeout=PATIENCE_S) as answer:
        events = frames(answer)
        while next(events)[1]["type"] != "message.end":
            continue
        body = {"input": "Again", "session_id": made["session_id"]}
        said = httpx.post(f"{server.url}/api/chat", json=body, timeout=PATIENCE_S).json()
        for _number, frame in events:
            shown.apply(frame)
            if frame["type"] == "message.end":
                break
    assert shown.texts == {said["message_id"]: "You said: Again"}
