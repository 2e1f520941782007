"""A socket that is not read: what waits for it is bounded, it is closed, and it can come back."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from chat.site_socket import MAX_UNSENT
from tests.chat_client import Shown
from tests.server_process import ServerProcess
from tests.slow_reader import SlowReader, whole_answer

pytestmark = pytest.mark.fake_engine

SYSTEM_BUFFERS = 6_000_000
"""What Linux itself may hold for a connection, at its defaults."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    factory = {"TINYLLM_ENGINE_FACTORY": "tests.slow_reader.build"}
    its = ServerProcess(tmp_path, **factory).migrate().start()
    yield its
    assert its.end() == 0


async def read_to_end(line: ClientConnection, shown: Shown) -> int:
    """Returns how many bytes its frames had."""
    size = 0
    async for data in line:
        size += len(data)
        frame = json.loads(data)
        shown.apply(frame)
        if frame["type"] == "message.end":
            return size
    raise AssertionError("the connection ended before the answer")


async def ask(line: ClientConnection, text: str) -> float:
    """Seconds to the end of an answer."""
    began, shown = time.monotonic(), Shown()
    name = uuid.uuid4().hex
    frame = {"v": 1, "type": "turn.submit", "client_id": name, "session_id": None}
    await line.send(json.dumps({**frame, "text": text, "model": "chat"}))
    await read_to_end(line, shown)
    return time.monotonic() - began


async def test_who_does_not_read_is_closed_disturbs_nobody_and_resumes(
    server: ServerProcess,
) -> None:
    fields = {"client_id": "slow", "session_id": None, "text": "long", "model": "chat"}
    slow = SlowReader(server.socket_url)
    slow.send("turn.submit", **fields)
    slow.read("message.delta")
    async with connect(server.socket_url) as line, connect(server.socket_url) as other:
        shown = Shown()
        opened = {"v": 1, "type": "session.open", "session_id": slow.frames[-1]["session_id"]}
        await line.send(json.dumps({**opened, "after": 0}))
        reading = asyncio.create_task(read_to_end(line, shown))
        answered = [await ask(other, "short") for _ in range(5)]
        size = await reading
    assert list(shown.texts.values()) == [whole_answer()]
    assert max(answered) < 10
    assert size > 2 * SYSTEM_BUFFERS

    slow.read()
    largest = 2 * len(whole_answer()) + 1000  # all of it as text, and again as blocks
    assert slow.received <= SYSTEM_BUFFERS + MAX_UNSENT + largest
    (stalled,) = server.logged("socket.stalled")
    assert 0 < stalled["unsent"] <= MAX_UNSENT + largest
    assert slow.frames[-1]["type"] == "message.delta"
    again = Shown()
    for frame in slow.frames:
        again.apply(frame)
    async with connect(server.socket_url) as line:
        await line.recv()
        await line.send(json.dumps({**opened, "after": again.seq}))
        assert json.loads(await line.recv())["type"] == "session.opened"
        await read_to_end(line, again)
    assert again.texts == shown.texts
    assert again.blocks == shown.blocks
    assert again.seqs == sorted(set(again.seqs))
