"""The site behind nginx with the configuration of the documents, as people would run it."""

from __future__ import annotations

import configparser
import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import get_commands
from httpx_sse import connect_sse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.nginx_process import NginxProcess, program
from tests.server_process import ROOT, ServerProcess

pytestmark = pytest.mark.fake_engine

PASSWORD = "correct horse battery"
PATIENCE_S = 60
# What the pages here need; the admin's and Swagger's files are most of the work.
COLLECT = ("collectstatic", "--no-input", "-i", "unfold", "-i", "ninja", "-i", "admin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    program()
    made = ServerProcess(
        tmp_path_factory.mktemp("deployed"),
        DJANGO_SETTINGS_MODULE="tests.proxied_site",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        TINYLLM_ENGINE_FACTORY="tests.gated_engine.build",
        TINYLLM_MODE="production",
        TINYLLM_BEHIND_PROXY="1",
        SECRET_KEY="of a site behind a proxy " * 3,
        ALLOWED_HOSTS="localhost",
    ).migrate()
    about = ("--username", "ada", "--email", "ada@example.org")
    for command in (("createsuperuser", "--no-input", *about), COLLECT):
        done = made.manage(*command)
        assert done.returncode == 0, done.stderr
    yield made.start()
    made.end()


@pytest.fixture(scope="module")
def nginx(
    server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NginxProcess]:
    made = NginxProcess(tmp_path_factory.mktemp("nginx"), server.port).start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def ada(nginx: NginxProcess) -> Iterator[httpx.Client]:
    """Signed in, as a browser does it."""
    with httpx.Client(base_url=nginx.url, verify=nginx.trust, timeout=PATIENCE_S) as client:
        client.get("/account/login/")
        form = {"login": "ada", "password": PASSWORD}
        headers = {"origin": nginx.url, "x-csrftoken": client.cookies["csrftoken"]}
        answer = client.post("/account/login/", data=form, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (302, "/")
        yield client


@pytest.fixture
def go(server: ServerProcess) -> Iterator[Path]:
    """The file for which answers wait."""
    file = server.directory / "go"
    file.unlink(missing_ok=True)
    yield file
    file.touch()


def proven(nginx: NginxProcess, client: httpx.Client) -> dict[str, str]:
    return {"origin": nginx.url, "x-csrftoken": client.cookies["csrftoken"]}


def test_http_leads_to_https(nginx: NginxProcess) -> None:
    answer = httpx.get(f"http://localhost:{nginx.http}/learn/?a=b", timeout=PATIENCE_S)
    assert (answer.status_code, answer.headers["location"]) == (301, "https://localhost/learn/?a=b")


def test_pages_and_files(ada: httpx.Client) -> None:
    page = ada.get("/", headers={"x-forwarded-proto": "http"})  # a caller's own counts for nothing
    assert page.status_code == 200
    assert page.headers["strict-transport-security"]
    assert all("; secure" in cookie.lower() for cookie in page.headers.get_list("set-cookie"))
    style = re.search(r'href="(/static/chat/base\.[0-9a-f]{12}\.css)"', page.text)
    assert style
    file = ada.get(style[1], headers={"accept-encoding": "gzip"})
    assert file.headers["content-encoding"] == "gzip"
    assert "immutable" in file.headers["cache-control"]


def test_events_come_piece_by_piece(nginx: NginxProcess, ada: httpx.Client, go: Path) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    asked: dict[str, Any] = {"json": body, "headers": proven(nginx, ada)}
    with connect_sse(ada, "POST", "/v1/chat/completions", **asked) as source:
        texts = (
            json.loads(event.data)["choices"][0]["delta"].get("content")
            for event in source.iter_sse()
            if event.data != "[DONE]"
        )
        assert next(text for text in texts if text) == "first "
        go.touch()  # not before the first piece was here
        assert next(text for text in texts if text) == "last"


def socket_of(nginx: NginxProcess, client: httpx.Client, origin: str) -> ClientConnection:
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return connect(
        f"{nginx.url.replace('https', 'wss')}/ws/chat/",
        ssl=nginx.trust,
        origin=Origin(origin),
        additional_headers={"Cookie": cookies},
        open_timeout=PATIENCE_S,
    )


def until(line: ClientConnection, kind: str) -> dict[str, Any]:
    while (frame := json.loads(line.recv(PATIENCE_S)))["type"] != kind:
        assert frame["type"] != "error", frame
    told: dict[str, Any] = frame
    return told


def test_an_answer_over_the_websocket(nginx: NginxProcess, ada: httpx.Client, go: Path) -> None:
    with socket_of(nginx, ada, nginx.url) as line:
        until(line, "ready")
        submit = {"client_id": "one", "session_id": None, "parent_id": None, "text": "Hi"}
        line.send(json.dumps({"v": 1, "type": "turn.submit", "model": "chat", **submit}))
        assert until(line, "message.delta")["text"] == "first "
        go.touch()
        assert until(line, "message.end")["status"] == "DONE"


def test_a_page_of_another_site_gets_no_websocket(nginx: NginxProcess, ada: httpx.Client) -> None:
    for origin in ("https://evil.example", nginx.url.replace("https", "https://evil.example")):
        with pytest.raises(InvalidStatus) as refused:
            socket_of(nginx, ada, origin)
        assert refused.value.response.status_code == 403


def test_a_form_of_another_site_is_refused(nginx: NginxProcess, ada: httpx.Client) -> None:
    headers = {**proven(nginx, ada), "origin": "https://evil.example"}
    answer = ada.post("/api/chat", json={"input": "Hi", "model": "chat"}, headers=headers)
    assert answer.status_code == 403


def test_what_is_too_large_is_refused_in_words(nginx: NginxProcess) -> None:
    for path, length, status in (
        ("/api/files", 40_000_000, 413),
        ("/v1/chat/completions", 40_000_000, 413),
        ("/api/files", 3 * 2**30, 413),
        ("/api/import", 3 * 2**30, 413),
    ):
        line = http.client.HTTPSConnection("localhost", nginx.https, context=nginx.trust)
        line.putrequest("POST", path)
        line.putheader("Content-Type", "application/json")
        line.putheader("Content-Length", str(length))
        line.endheaders()
        answer = line.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        error = json.loads(answer.read())["error"]
        assert error["code"] == "body_too_large"
        assert "too large" in error["message"]
        line.close()


def verified(folder: Path, text: str) -> str:
    """What systemd finds wrong with a unit whose site lies in `folder`."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.unlink(missing_ok=True)
    python.symlink_to(sys.executable)
    unit = folder / "tinyllm.service"
    unit.write_text(text.replace("/srv/tinyllm", str(folder)))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deploying" / "tinyllm.service").read_text()
    assert verified(tmp_path, text) == ""
    assert "Restrt" in verified(tmp_path, text.replace("Restart=", "Restrt="))
    assert "not executable" in verified(tmp_path, text.replace("bin/python ", "bin/pythn "))


def test_the_unit_starts_what_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    text = (ROOT / "docs" / "deploying" / "tinyllm.service").read_text()
    unit.read_string(text)
    folder = unit["Service"]["WorkingDirectory"]
    commands = re.findall(r"^ExecStart(?:Pre)?=(\S+) manage\.py (\w+)", text, re.MULTILINE)
    assert [name for _, name in commands] == ["migrate", "collectstatic", "serve"]
    assert {python for python, _ in commands} == {f"{folder}/.venv/bin/python"}
    assert {name for _, name in commands} <= get_commands().keys()
    assert unit["Service"]["ReadWritePaths"] == folder
