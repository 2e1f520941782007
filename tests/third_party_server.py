"""The project of `tests/third_party/`, migrated and served: our apps among a bookshop's own."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.server_process import ROOT, ServerProcess

MEMBERS = ("ada", "bob")
PASSWORD = "correct horse battery"
ROOT_OF_PAGES = "/assistant/"
PATIENCE_S = 60
_MEMBERS = f"""
from django.contrib.auth import get_user_model
from chat.accounts.tokens import Scope, token_create
for name in {MEMBERS}:
    owner = get_user_model().objects.create_user(name, password={PASSWORD!r})
get_user_model().objects.create_superuser("boss", password={PASSWORD!r})
print(token_create(owner=owner, name="shelf", scopes=[Scope.CHAT])[1])
"""


class Bookshop(ServerProcess):
    project = ROOT / "tests/third_party"

    def __init__(self, directory: Path, **environment: str) -> None:
        super().__init__(
            directory,
            PYTHONPATH=str(ROOT),
            DJANGO_SETTINGS_MODULE="bookshop.settings",
            **environment,
        )

        self.closing = ExitStack()
        """Of what its visitors have opened."""

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.closing.close()
        return super().end(number)

    def migrate(self) -> Bookshop:
        """From nothing, with two members, an administrator, and a token of the last member's."""
        for arguments in (("migrate", "-v0"), ("shell", "-v0", "-c", _MEMBERS)):
            done = self.manage(*arguments)
            assert done.returncode == 0, done.stderr
        self.token = done.stdout.strip()
        return self


class Visitor:
    """A browser without scripts."""

    def __init__(self, shop: Bookshop) -> None:
        self.shop = shop
        self.http = shop.closing.enter_context(httpx.Client(base_url=shop.url, timeout=PATIENCE_S))

    def sign_in(self, name: str) -> Visitor:
        page = self.http.get("/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        given = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        answer = self.http.post("/login/", data={**given, "next": ROOT_OF_PAGES})
        assert answer.headers["location"] == ROOT_OF_PAGES
        return self

    def get(self, path: str) -> httpx.Response:
        """path: below the assistant's address."""
        return self.http.get(ROOT_OF_PAGES + path)

    def socket(self) -> ClientConnection:
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        address = f"{self.shop.url.replace('http', 'ws', 1)}{ROOT_OF_PAGES}ws/chat/"
        origin = Origin(self.shop.url)
        return connect(address, origin=origin, additional_headers={"Cookie": cookies})

    def say(self, text: str) -> dict[str, Any]:
        """To a new session, by websocket. Returns the frame that ends the answer."""
        turn = {"v": 1, "type": "turn.submit", "client_id": text, "session_id": None}
        with self.socket() as socket:
            socket.send(json.dumps({**turn, "parent_id": None, "text": text, "model": "chat"}))
            while True:
                frame: dict[str, Any] = json.loads(socket.recv(PATIENCE_S))
                assert frame["type"] != "error", frame
                if frame["type"] == "message.end":
                    return frame
