"""A real Chromium in front of `manage.py serve` with the real engine, each in its own process."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from websockets.sync.client import connect

from tests.browser.failed_requests import FailedRequests
from tests.browser.violations import watch_violations
from tests.browser.wire import ENDLESS, WIRES, Wire

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "test-output"
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-smooth-scrolling",  # a turn of the wheel is over when it is seen
]
PATIENCE_MS = 120_000  # an upper bound on waiting for a condition, on a busy machine

# Addresses that a test wants refused: the browser's console tells of each refusal.
REFUSING: set[str] = set()

expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.real_engine)


@dataclass(frozen=True)
class Site:
    """A running server. `text_of` reads what its database keeps, past the server."""

    url: str
    database: Path

    def text_of(self, message_id: str) -> str:
        query = "SELECT content FROM chat_message WHERE id = ?"
        with closing(sqlite3.connect(self.database)) as connection:
            row = connection.execute(query, [message_id.replace("-", "")]).fetchone()
        assert row is not None, f"no message {message_id}"
        return str(row[0])

    def stop_answers(self) -> None:
        """An answer runs on without its page, and would hold up the next one."""
        query = "SELECT session_id FROM chat_generation WHERE status = 'RUNNING'"
        with closing(sqlite3.connect(self.database)) as connection:
            running = [str(uuid.UUID(row[0])) for row in connection.execute(query)]
        with connect(f"{self.url.replace('http', 'ws')}/ws/chat/") as line:
            for session_id in running:
                line.send(json.dumps({"v": 1, "type": "turn.stop", "session_id": session_id}))


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not (ROOT / "models/chat/model.safetensors").exists():
        pytest.fail("The chat model is missing. Run: make models")
    data = tmp_path_factory.mktemp("data")
    manage = ["env", f"TINYLLM_DATA_DIR={data}", sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], cwd=ROOT, check=True)
    with (
        (data / "log").open("w") as log,
        subprocess.Popen(
            [*manage, "serve", "--port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        greeting = server.stdout.readline()
        address = re.search(r"http://\S+:\d+", greeting)
        assert address, f"the server did not start: {greeting}{(data / 'log').read_text()}"
        yield Site(address[0], data / "db.sqlite3")
        server.terminate()


# Not for the whole session: while Playwright's synchronous half is up, an event loop counts as
# running in this thread, and no asynchronous test could run after these.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        bundled = playwright.chromium.executable_path
        path = shutil.which("chromium") or shutil.which("google-chrome") or bundled
        if not Path(path).exists():
            pytest.fail("Chromium is missing. Run: make browser (or: apt-get install chromium)")
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def nothing_runs_on(site: Site) -> Iterator[None]:
    yield
    site.stop_answers()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser contexts. A console error or warning, an exception, a failed request or a
    violation of the Content-Security-Policy in any of their pages fails the test."""
    troubles: list[str] = []
    contexts: list[BrowserContext] = []

    def make(width: int = 1280, height: int = 800, **options: object) -> BrowserContext:
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", lambda page: _watch(page, troubles))
        watch_violations(context, troubles)
        WIRES[context] = Wire(context)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert troubles == []


def _watch(page: Page, troubles: list[str]) -> None:
    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and message.location.get("url") not in REFUSING:
            troubles.append(f"console {message.type}: {message.text}")

    page.on("console", console)
    page.on("pageerror", lambda error: troubles.append(f"exception: {error}"))
    FailedRequests(page, troubles)


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    return new_context()


@pytest.fixture
def wire(context: BrowserContext) -> Wire:
    return WIRES[context]


@pytest.fixture
def chat(context: BrowserContext, site: Site) -> Chat:
    return Chat.open(context, site)


class Chat:
    """The page, as a person uses it."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        self.text = page.locator("#text")
        self.answer = page.locator(".message.assistant").last
        self.status = page.locator("#status")

    @classmethod
    def open(cls, context: BrowserContext, site: Site, path: str = "/") -> Chat:
        chat = cls(context.new_page(), site)
        chat.page.goto(site.url + path)
        chat.wait_connected()
        return chat

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.site.url)

    @property
    def raw(self) -> str:
        """The exact text that the page holds of the newest answer."""
        return str(self.answer.evaluate("element => element.message.text"))

    @property
    def shown(self) -> list[list[str]]:
        """Of each message its kind, the HTML of its text, and what stands below."""
        messages: list[list[str]] = self.page.locator(".message").evaluate_all(
            """elements => elements.map(element => [
                element.className,
                element.querySelector(".content").innerHTML,
                element.querySelector(".below").innerText,
            ])"""
        )
        return messages

    @property
    def message_id(self) -> str:
        return self.answer.get_attribute("data-message-id") or ""

    def wait_connected(self) -> None:
        expect(self.page.locator("html")).to_have_attribute("data-connected", "true")

    def reload(self) -> None:
        self.page.reload()
        self.wait_connected()

    def send(self, text: str) -> None:
        self.text.fill(text)
        self.text.press("Enter")

    def begin(self, text: str) -> None:
        """Send what is answered until somebody stops it."""
        WIRES[self.page.context].sampling = ENDLESS
        self.send(text)

    def enough(self) -> None:
        """What the model answers is not the matter, so it need not come to its end."""
        expect(self.answer).to_have_attribute("data-status", re.compile("."))
        self.page.evaluate("document.getElementById('stop').click()")
        expect(self.answer).to_have_attribute("data-status", re.compile("DONE|STOPPED"))

    def wait_text(self, characters: int) -> None:
        """Until the newest answer is being written and is at least so long."""
        self.page.wait_for_function(
            """length => [...document.querySelectorAll('[data-status="RUNNING"]')]
                .some(element => element.message.text.length >= length)""",
            arg=characters,
        )

    def wait_end(self, status: str = "DONE") -> None:
        expect(self.answer).to_have_attribute("data-status", status)

    def check_saved(self) -> str:
        """The newest answer's text, after making sure that the database has the same."""
        assert self.raw == self.site.text_of(self.message_id)
        return self.raw

    def screenshot(self, name: str) -> None:
        """For a person to look at; test-output/ is not in git."""
        self.page.screenshot(path=OUTPUT / f"{name}.png")
