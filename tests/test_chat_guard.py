"""Local mode's door: who is answered over HTTP, over an event stream and over a websocket."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.testing import HttpCommunicator

from chat.guard import is_loopback, refusal
from tests.chat_client import communicator
from tests.fake_engine import FakeEngine
from tests.server_process import PATIENCE_S, ServerProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

HOST = ("host", "localhost:3000")
ORIGIN = ("origin", "http://localhost:3000")

ANSWERED: list[list[tuple[str, str]]] = [
    [HOST],
    [HOST, ORIGIN],
    [("host", "127.0.0.1:3000")],
    [("host", "[::1]:3000")],
    [("host", "localhost")],
    [("host", "LOCALHOST:3000")],
    [HOST, ("sec-fetch-site", "same-origin")],
    [HOST, ("sec-fetch-site", "none")],
]
REFUSED: list[list[tuple[str, str]]] = [
    [],
    [("host", "evil.example")],
    [("host", "localhost.evil.example")],
    [("host", "evil.example:3000")],
    [("host", "192.168.0.7:3000")],
    [("host", "[::2]:3000")],
    [HOST, HOST],
    [HOST, ("origin", "http://evil.example")],
    [HOST, ("origin", "https://localhost.evil.example")],
    [HOST, ("origin", "http://localhost:8000")],
    [HOST, ("origin", "http://127.0.0.1:3000")],
    [HOST, ("origin", "null")],
    [HOST, ("origin", "")],
    [HOST, ("origin", "file://localhost:3000")],
    [HOST, ("sec-fetch-site", "cross-site")],
    [HOST, ORIGIN, ("sec-fetch-site", "cross-site")],
    [HOST, ("x-forwarded-for", "127.0.0.1")],
    [HOST, ("x-forwarded-host", "localhost")],
    [HOST, ("x-forwarded-proto", "http")],
    [HOST, ("X-Forwarded-Anything", "x")],
    [HOST, ("forwarded", "for=127.0.0.1")],
]


def raw(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


async def http(
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes = b"",
    client: str = "127.0.0.1",
    server: str = "127.0.0.1",
) -> dict[str, Any]:
    from tinyllm_site.asgi import application

    sent = [*headers, ("content-length", str(len(body)))] if body else headers
    made = HttpCommunicator(application, method, path, body, raw(sent))
    made.scope.update(client=[client, 50000], server=[server, 3000])
    answer: dict[str, Any] = await made.get_response(timeout=10)
    await made.send_input({"type": "http.disconnect"})
    await made.wait(timeout=10)
    return answer


@pytest.mark.parametrize("headers", ANSWERED)
async def test_the_own_page_is_answered(site: FakeEngine, headers: list[tuple[str, str]]) -> None:
    assert (await http("GET", "/api/sessions", headers))["status"] == 200
    said = json.dumps({"input": "Hi"}).encode()
    as_json = ("content-type", "application/json")
    assert (await http("POST", "/api/chat", [*headers, as_json], said))["status"] == 200
    socket = communicator(raw(headers))
    assert (await socket.connect())[0] is True
    await socket.disconnect()


@pytest.mark.parametrize("headers", REFUSED)
async def test_anything_else_is_refused_everywhere(
    site: FakeEngine, headers: list[tuple[str, str]]
) -> None:
    said = json.dumps({"input": "Hi"}).encode()
    as_json = ("content-type", "application/json")
    for method, path, body in (
        ("GET", "/", b""),
        ("GET", "/api/sessions", b""),
        ("POST", "/api/chat", said),
        ("GET", f"/api/sessions/{uuid.uuid4()}/events", b""),
        ("DELETE", f"/api/sessions/{uuid.uuid4()}", b""),
        ("GET", "/admin/", b""),
        ("GET", "/static/chat/main.js", b""),
    ):
        sent = [*headers, as_json] if body else headers
        answer = await http(method, path, sent, body)
        assert answer["status"] == 403, path
        assert json.loads(answer["body"])["error"]["type"] == "permission_error"
    socket = communicator(raw(headers))
    assert (await socket.connect())[0] is False
    assert site.requests == []


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("address", ["192.168.0.7", "0.0.0.0", "2001:db8::1", "localhost.evil"])  # noqa: S104
async def test_only_loopback_is_answered(site: FakeEngine, side: str, address: str) -> None:
    answer = await http("GET", "/api/sessions", [HOST], **{side: address})  # type: ignore[arg-type]
    assert answer["status"] == 403
    assert (await communicator(raw([HOST]), **{side: address}).connect())[0] is False


def test_a_connection_of_unknown_ends_is_refused(settings: Any) -> None:
    settings.TINYLLM_LOCAL = True
    scope = {"type": "http", "headers": raw([HOST]), "client": None, "server": ("127.0.0.1", 3000)}
    assert refusal(scope) is not None


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"],
)
async def test_a_body_that_is_not_json_is_415(site: FakeEngine, content_type: str) -> None:
    headers = [HOST, ORIGIN, ("content-type", content_type)]
    answer = await http("POST", "/api/chat", headers, b'{"input": "Hi"}')
    assert answer["status"] == 415
    assert json.loads(answer["body"])["error"]["code"] == "unsupported_media_type"
    assert site.requests == []


async def test_json_with_a_charset_is_json(site: FakeEngine) -> None:
    headers = [HOST, ORIGIN, ("content-type", "application/json; charset=utf-8")]
    assert (await http("POST", "/api/chat", headers, b'{"input": "Hi"}'))["status"] == 200


async def test_with_accounts_a_foreign_page_gets_no_websocket(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_LOCAL = False
    own = {
        "type": "websocket",
        "headers": raw([("host", "a.example"), ("origin", "https://a.example")]),
    }
    foreign = {**own, "headers": raw([("host", "a.example"), ("origin", "https://b.example")])}
    assert refusal(own) is None
    assert refusal(foreign) is not None
    assert refusal({**foreign, "type": "http"}) is None  # there Django's CSRF check decides


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path).migrate().start()
    yield made
    made.end()


def test_the_real_server_refuses_a_foreign_page(server: ServerProcess) -> None:
    import httpx

    body = {"input": "Hi"}
    own = httpx.post(f"{server.url}/api/chat", json=body, timeout=PATIENCE_S)
    assert own.status_code == 200
    for headers in (
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"x-forwarded-for": "10.0.0.1"},
        {"sec-fetch-site": "cross-site"},
    ):
        foreign = httpx.post(
            f"{server.url}/api/chat", json=body, headers=headers, timeout=PATIENCE_S
        )
        assert foreign.status_code == 403
    plain = httpx.post(f"{server.url}/api/chat", content='{"input": "Hi"}', timeout=PATIENCE_S)
    assert plain.status_code == 415
    assert len(httpx.get(f"{server.url}/api/sessions", timeout=PATIENCE_S).json()) == 1
