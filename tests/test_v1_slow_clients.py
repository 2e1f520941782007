"""Who sends a body piece by piece or does not read a stream holds up nobody, and gets all of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server_process import ServerProcess
from tests.slow_reader import whole_answer

pytestmark = pytest.mark.fake_engine

PATIENCE_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("slow")
    factory = {"TINYLLM_ENGINE_FACTORY": "tests.slow_reader.build"}
    its = ServerProcess(folder, **factory).migrate().start()
    yield its
    its.end()


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}], **more}


def connected(server: ServerProcess, said: bytes) -> socket.socket:
    """A connection on which a call begins whose body has so many bytes. It takes in little."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(PATIENCE_S)
    line.connect(("127.0.0.1", server.port))
    head = f"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost:{server.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(said)}\r\n"
    line.sendall(f"{head}\r\n".encode())  # of HTTP 1.0, so the answer comes without chunks
    return line


def read(line: socket.socket) -> bytes:
    with line:
        return b"".join(iter(lambda: line.recv(1 << 16), b""))


def another(server: ServerProcess) -> None:
    """Somebody else is answered meanwhile."""
    url = f"{server.url}/v1/chat/completions"
    answer = httpx.post(url, json=body("short"), timeout=PATIENCE_S).json()
    assert answer["choices"][0]["message"]["content"] == "Yes."


def test_a_body_that_comes_piece_by_piece(server: ServerProcess) -> None:
    said = json.dumps(body("short")).encode()
    line = connected(server, said)
    for byte in said[:-1]:
        line.sendall(bytes([byte]))
    another(server)
    line.sendall(said[-1:])
    assert b'"content": "Yes."' in read(line)


def test_a_body_that_breaks_off(server: ServerProcess) -> None:
    said = json.dumps(body("short")).encode()
    with connected(server, said) as line:
        line.sendall(said[:-1])
    another(server)


def test_a_stream_that_is_not_read(server: ServerProcess) -> None:
    said = json.dumps(body("long", stream=True)).encode()
    line = connected(server, said)
    line.sendall(said)
    another(server)
    frames = read(line).decode().partition("\r\n\r\n")[2].split("\n\n")[:-1]
    assert frames.pop() == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(texts) == whole_answer()
