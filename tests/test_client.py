"""The client package against a started site: in step, awaited, through a cut connection, refused,
and installed by itself."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat.client import (
    Answer,
    AnswerFailed,
    ApiError,
    AsyncClient,
    Client,
    ConnectionLost,
    End,
    Event,
    Loading,
    Progress,
    Queued,
    Started,
    Text,
)
from tests.server_process import ROOT, ServerProcess

pytestmark = pytest.mark.fake_engine

WORDS = " ".join(f"word{number}" for number in range(60)) + " 终"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    started = ServerProcess(tmp_path_factory.mktemp("client")).migrate().start()
    yield started
    started.end()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


class Cutting:
    """A way to the site that ends each websocket after so many bytes from it; the ones after those
    are left alone. The answer to WORDS takes more than 2,500 bytes however it is divided, what is
    left of it after any of them more than 600."""

    def __init__(self, port: int, *cuts: int) -> None:
        self._cuts, self._site = iter(cuts), port
        self.connections = 0
        self._open: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._door, *self._open):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            site = socket.create_connection(("127.0.0.1", self._site))
            self._open += caller, site
            is_socket = b"/ws/chat/" in caller.recv(65536, socket.MSG_PEEK)
            self.connections += is_socket
            left = next(self._cuts, None) if is_socket else None
            for ends in ((caller, site, None), (site, caller, left)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, left: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536 if left is None else min(left, 65536)):
                target.sendall(data)
                left = left if left is None else left - len(data)
                if left == 0:
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def way(server: ServerProcess) -> Iterator[Any]:
    made: list[Cutting] = []

    def make(*cuts: int) -> Cutting:
        made.append(Cutting(server.port, *cuts))
        return made[-1]

    yield make
    for each in made:
        each.close()


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def test_a_stream_tells_all_that_happens(client: Client) -> None:
    events = list(client.stream("queue this", seed=5, temperature=0.5))
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert {Queued, Loading, Progress} & set(kinds)
    end = events[-1]
    assert isinstance(end, End)
    assert (text_of(events), end.status, end.seed) == ("You said: queue this", "DONE", 5)
    assert end.usage.output_tokens == len("You said: queue this") + 1
    assert end.timings["decode_s"] > 0


def test_sessions_and_messages(client: Client, tmp_path: Path) -> None:
    first = client.send("One")
    assert isinstance(first, Answer)
    session = first.started.session_id
    client.send("Two", session_id=session)
    said = [(each.role, each.content) for each in client.messages(session)]
    assert said == [
        ("user", "One"),
        ("assistant", "You said: One"),
        ("user", "Two"),
        ("assistant", "You said: Two"),
    ]
    again = list(client.regenerate(session, first.started.message_id))
    assert text_of(again) == "You said: One"
    assert len(list(client.messages(session, branch="all"))) == 5
    assert client.change_session(session, title="Renamed").title == "Renamed"
    assert "Renamed" in {each.title for each in client.sessions()}
    assert client.search("Renamed")[0].session_id == session
    path = tmp_path / "note.txt"
    path.write_text("The password is mellon.")
    assert client.send("What is it?", files=[client.upload(path)]).end.status == "DONE"
    made = client.create_session(title="Empty", settings={"temperature": 0})
    assert (client.session(made.id).title, made.created_at.tzinfo is not None) == ("Empty", True)
    client.delete_session(made.id)
    with pytest.raises(ApiError, match=made.id) as refused:
        client.session(made.id)
    assert (refused.value.status, refused.value.code) == (404, "session_not_found")


def test_an_answer_is_stopped_and_gone_on_with(client: Client) -> None:
    events: list[Event] = []
    for event in client.stream("forever"):
        events.append(event)
        if len(events) == 4:
            assert isinstance(events[0], Started)
            client.stop(events[0].session_id)
    end, begun = events[-1], events[0]
    assert isinstance(end, End)
    assert isinstance(begun, Started)
    assert (end.status, end.can_continue) == ("STOPPED", True)
    more = client.go_on(begun.session_id, begun.message_id)
    assert isinstance(next(more), Started)
    assert isinstance(next(more), Text)
    more.close()  # type: ignore[attr-defined]
    client.stop(begun.session_id)


@pytest.mark.parametrize("cuts", [(2500,), (1200, 300, 600), (250, 250, 2500, 400)])
def test_a_cut_connection_loses_no_token_and_doubles_none(
    server: ServerProcess, way: Any, cuts: tuple[int, ...]
) -> None:
    cutting = way(*cuts)
    with Client(f"http://localhost:{cutting.port}") as client:
        events = list(client.stream(WORDS))
    assert cutting.connections == len(cuts) + 1
    assert text_of(events) == f"You said: {WORDS}"
    started = [event for event in events if isinstance(event, Started)]
    with Client(server.url) as client:
        stored = list(client.messages(started[0].session_id))
    assert (len(started), len(stored), stored[1].content) == (1, 2, text_of(events))


async def test_the_same_awaited(server: ServerProcess, way: Any) -> None:
    cutting = way(2500, 500)
    async with AsyncClient(f"http://localhost:{cutting.port}") as client:
        events = [event async for event in client.stream(WORDS)]
        assert text_of(events) == f"You said: {WORDS}"
        assert cutting.connections == 3
        answer = await client.send("Again")
        assert answer.text == "You said: Again"
        session = await client.session(answer.started.session_id)
        assert session.id in [each.id async for each in client.sessions()]
        said = [each.content async for each in client.messages(session.id)]
        assert said == ["Again", answer.text]


def test_refusals_are_errors_with_what_the_site_says(client: Client) -> None:
    with pytest.raises(ApiError, match="empty") as refused:
        client.send(" ")
    assert (refused.value.code, refused.value.param) == ("empty_input", "input")
    with pytest.raises(ApiError, match="gpt-9"):
        client.send("Hello", model="gpt-9")
    with pytest.raises(ApiError, match="temperature"):
        client.send("Hello", temperature=9)
    with pytest.raises(AnswerFailed) as failed:
        client.send("fail")
    assert failed.value.answer.text == "This will not end "
    assert failed.value.answer.end.can_continue


def test_a_site_that_is_not_there_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ConnectionLost):
        client.send("Hello")


def test_it_depends_on_what_it_imports() -> None:
    folder = ROOT / "chat" / "client"
    asked = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    found: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module))
    roots = {name.partition(".")[0] for name in found} - sys.stdlib_module_names
    assert roots == {re.split("[>=]", each)[0] for each in asked}


def test_it_is_installed_by_itself_under_its_own_name(
    server: ServerProcess, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "chat" / "client", source)
    target = tmp_path / "installed"
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    made = subprocess.run(
        [sys.executable, "-c", build], cwd=source, check=True, capture_output=True, text=True
    )
    with zipfile.ZipFile(source / made.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(target)
    code = (
        "import sys, tinyllm_client\n"
        f"with tinyllm_client.Client({server.url!r}) as client:\n"
        "    print(client.send('Hello').text)\n"
        "assert not {'django', 'chat'} & set(sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("You said: Hello\n", "")
