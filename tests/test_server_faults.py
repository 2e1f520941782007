"""A served site with a real engine process, while this or that goes wrong: whoever has nothing to
do with it gets their whole answer, the pages answer, and the error that a person sees is clear."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.server_process import ServerProcess
from tests.server_reader import HANG, Reader, assert_true, row_of

pytestmark = pytest.mark.real_engine

GREEDY: dict[str, Any] = {"temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all faults, none of which may end it."""
    folder = tmp_path_factory.mktemp("served")
    made = ServerProcess(
        folder,
        TINYLLM_ENGINE_FACTORY="tests.faulty_server.build",
        TINYLLM_MODELS_DIR=str(folder / "models"),
    )
    yield made.migrate().start()
    assert made.process is not None
    assert made.process.poll() is None, "the server has ended"
    assert made.end() == 0


@pytest.fixture(autouse=True)
async def others(server: ServerProcess) -> AsyncIterator[None]:
    """The pages answer after every fault, and a new answer comes whole."""
    yield
    async with httpx.AsyncClient(timeout=HANG) as client:
        assert (await client.get(server.url)).status_code == 200
    reader = Reader(server)
    await reader.submit("And now?", **GREEDY, max_tokens=5)
    await reader.read()
    assert_whole(reader, 5)


def assert_whole(reader: Reader, tokens: int) -> None:
    assert reader.end is not None
    row = assert_true(reader)
    assert (reader.end["status"], len(row["generations"][-1][2])) == ("DONE", tokens)


@asynccontextmanager
async def bystanders(server: ServerProcess, tokens: int = 120) -> AsyncIterator[list[Reader]]:
    """Two who are in the middle of their answers, and in the end have all of them."""
    readers = [Reader(server) for _ in range(2)]
    for number, reader in enumerate(readers):
        await reader.submit(f"Bystander {number}", **GREEDY, max_tokens=tokens)
        await reader.read(3)
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    try:
        yield readers
    finally:
        async with asyncio.timeout(HANG):
            await asyncio.gather(*reading)
    for reader in readers:
        assert_whole(reader, tokens)


async def until_longer(readers: list[Reader], characters: int) -> None:
    """Until everyone was shown so much more, or all."""
    before = [len(reader.text) for reader in readers]
    async with asyncio.timeout(HANG):
        while any(  # noqa: ASYNC110
            reader.end is None and len(reader.text) < length + characters
            for reader, length in zip(readers, before, strict=True)
        ):
            await asyncio.sleep(0.01)


# The engine


async def test_a_killed_engine_is_told_and_every_answer_goes_on_in_the_next(
    server: ServerProcess,
) -> None:
    readers = [Reader(server) for _ in range(3)]

    async def begin(number: int, reader: Reader) -> None:
        await reader.submit(f"Number {number}", **GREEDY, max_tokens=250)
        await reader.read(5)

    async def go_on(reader: Reader) -> None:
        kept = reader.text
        assert_true(reader)
        await reader.go_on()
        await reader.read()
        assert_whole(reader, 250)
        assert reader.text.startswith(kept)

    await asyncio.gather(*(begin(*numbered) for numbered in enumerate(readers)))
    log = (server.directory / "log").read_text()
    os.kill(
        int(re.findall(r'"pid": (\d+), "event": "engine.child_started"', log)[-1]), signal.SIGKILL
    )
    for reader in readers:
        end = await reader.read()
        assert (end["status"], end["error"]["code"]) == ("FAILED", "engine_crashed")
        assert (end["error"]["retryable"], end["can_continue"]) == (True, True)
        assert "The text so far is kept" in end["error"]["message"]
    await asyncio.gather(*map(go_on, readers))


# The database


@contextmanager
def exclusively(server: ServerProcess) -> Iterator[None]:
    """Another program has the database for itself."""
    other = sqlite3.connect(server.directory / "db.sqlite3", isolation_level=None, timeout=HANG)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def lock_for(server: ServerProcess, seconds: float, tokens: int) -> None:
    async with bystanders(server, tokens) as readers:
        newcomer = Reader(server)
        with exclusively(server):
            before = [row_of(reader)["content"] for reader in readers]
            joining = asyncio.create_task(newcomer.submit("Me too", **GREEDY, max_tokens=10))
            await until_longer(readers, 20)
            await asyncio.sleep(seconds)
            async with httpx.AsyncClient(timeout=HANG) as client:
                page = await client.get(f"{server.url}/sessions/{readers[0].session_id}/")
            assert page.status_code == 200
            assert [row_of(reader)["content"] for reader in readers] == before
            assert all(len(r.text) > len(b) for r, b in zip(readers, before, strict=True))
            assert not joining.done()
        await joining
        await newcomer.read()
        assert_whole(newcomer, 10)


async def test_a_locked_database_holds_up_what_is_written_and_not_what_is_read(
    server: ServerProcess,
) -> None:
    await lock_for(server, 0.5, 200)


@pytest.mark.soak
async def test_ten_seconds_of_a_locked_database_lose_nothing(
    server: ServerProcess, record_property: Callable[[str, object], None]
) -> None:
    """Longer than the answers take: they end, and their ends wait too."""
    record_property("seconds", 10)
    await lock_for(server, 10, 300)


async def test_a_full_disk_fails_clearly_and_what_was_shown_is_kept_once_there_is_room(
    server: ServerProcess,
) -> None:
    whole = Reader(server)
    await whole.submit("Before", **GREEDY, max_tokens=20)
    await whole.read()
    reader, full = Reader(server), server.directory / "full"
    await reader.submit("Go", **GREEDY, max_tokens=450)
    await reader.read(3)
    full.touch()
    try:
        end = await reader.read()
        assert (end["status"], end["error"]["code"]) == ("FAILED", "storage_failed")
        assert "full" in end["error"]["message"]
        assert "Keep what you need, then try again" in end["error"]["message"]
        async with httpx.AsyncClient(timeout=HANG) as client:
            assert (await client.get(server.url)).status_code == 200
            kept = (await client.get(f"{server.url}/api/sessions/{whole.session_id}")).json()
        assert kept["messages"][-1]["content"] == whole.text
    finally:
        full.unlink()
    async with asyncio.timeout(HANG):
        while row_of(reader)["content"] != reader.text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    reader.begin_again(reader.text)
    await reader.go_on()
    await reader.read(3)
    await reader.stop()
    await reader.read()
    assert_true(reader)


# Clients


async def test_a_client_that_never_reads_holds_up_nobody(server: ServerProcess) -> None:
    async with bystanders(server) as readers:
        deaf = await connect(server.socket_url, max_queue=1, max_size=None)
        raw = deaf.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(40):
            for reader in readers:
                ids = {"session_id": reader.session_id, "after": 0}
                await deaf.send(json.dumps({"v": 1, "type": "session.open", **ids}))
        await until_longer(readers, 30)
    deaf.transport.abort()


async def test_garbage_is_refused_in_words_and_the_line_stays_open(server: ServerProcess) -> None:
    async with bystanders(server) as readers, connect(server.socket_url) as line:
        await line.recv()
        for sent, said in (
            (b"\x00\x01\xff", "A frame must be text, not binary."),
            (os.urandom(1_000_000), "A frame must be text, not binary."),
            ("\u0001" * 1_000_000, "A frame must be JSON."),
            ("[" * 1_000_000, "A frame must be JSON."),
            ('{"v": 1, "type": "turn.submit", "text": "\\ud83e"', "A frame must be JSON."),
            ('{"v": 1, "type": "\\ud83e"}', "There is no frame of type"),
            ('{"v": 9e99999}', "This server speaks version 1"),
        ):
            await line.send(sent)
            told = json.loads(await asyncio.wait_for(line.recv(), HANG))
            assert (told["type"], told["code"]) == ("error", "invalid_request")
            assert said in told["message"]
        half = {"client_id": "c", "session_id": None, "model": "tiny", "text": "\ud83e"}
        await line.send(json.dumps({"v": 1, "type": "turn.submit", **half}))
        told = json.loads(await asyncio.wait_for(line.recv(), HANG))
        assert (told["code"], told["client_id"]) == ("invalid_request", "c")
        assert "without half of a surrogate pair" in told["message"]
        await until_longer(readers, 10)


async def test_half_a_character_in_a_text_frame_ends_that_line_only(server: ServerProcess) -> None:
    async with bystanders(server) as readers:
        line = await connect(server.socket_url)
        await line.recv()
        await _send_raw(line, '{"v": 1, "text": "正文"}'.encode()[:-4])
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(line.recv(), HANG)
        await until_longer(readers, 10)


async def _send_raw(line: ClientConnection, data: bytes) -> None:
    """As a text frame, whatever the bytes are."""
    async with line.send_context():
        line.protocol.send_text(data)


async def test_a_thousand_opens_are_answered_or_refused(server: ServerProcess) -> None:
    """On one line, of sessions that are and that are not, and on thirty lines that go."""
    async with bystanders(server) as readers:
        line = await connect(server.socket_url, max_queue=None, max_size=None)
        await line.recv()
        for number in range(1000):
            known = readers[number % 2].session_id
            ids = {"session_id": known if number % 3 else f"{number:032x}", "after": number % 5}
            await line.send(json.dumps({"v": 1, "type": "session.open", **ids}))
        await line.send(b"the end")
        told: list[dict[str, Any]] = []
        while not told or "not binary" not in told[-1].get("message", ""):
            told.append(json.loads(await asyncio.wait_for(line.recv(), HANG)))
        errors = {frame["code"] for frame in told if frame["type"] == "error"}
        assert errors <= {"session_not_found", "invalid_request"}
        lines = await asyncio.gather(*(connect(server.socket_url) for _ in range(30)))
        for each in (line, *lines):
            each.transport.abort()
        await until_longer(readers, 10)
