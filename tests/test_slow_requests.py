"""Requests that come in slowly, or only in part, to a started server."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.fake_engine

BODY = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Hello " * 500}]})
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    factory = "tests.impatient_engine.build"
    made = ServerProcess(tmp_path_factory.mktemp("slow"), TINYLLM_ENGINE_FACTORY=factory)
    yield made.migrate().start()
    made.end(signal.SIGKILL)


def line(server: ServerProcess, text: str) -> socket.socket:
    made = socket.create_connection(("localhost", server.port), timeout=PATIENCE_S)
    made.sendall(text.encode())
    return made


def answer(line: socket.socket) -> tuple[int, dict[str, Any]]:
    reply = HTTPResponse(line)
    reply.begin()
    return reply.status, json.loads(reply.read())


def test_what_comes_too_slowly_is_refused_and_what_is_large_has_time(server: ServerProcess) -> None:
    large = line(server, f"{HEAD}\r\n{BODY[:-5]}")
    late = [line(server, HEAD), line(server, f"{HEAD}\r\n"), line(server, f"{HEAD}\r\n{BODY[:1]}")]
    for each in late:
        status, told = answer(each)
        assert (status, told["error"]["code"]) == (408, "request_timeout")
        assert each.recv(1) == b""
    large.sendall(BODY[-5:].encode())
    status, told = answer(large)
    assert status == 200, told
    assert told["choices"][0]["message"]["content"]
    for each in (large, *late):
        each.close()


def test_who_goes_in_the_midst_of_a_body_leaves_nothing(server: ServerProcess) -> None:
    line(server, f"{HEAD}\r\n{BODY[:-5]}").close()
    whole = line(server, f"{HEAD}\r\n{BODY}")
    assert answer(whole)[0] == 200
    whole.close()
    assert not Path(server.directory / "log").read_text().count("Traceback")
