"""A page names the modules that it needs beforehand: each is fetched once, and none for nothing."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Response

from tests.browser.conftest import Chat, Site
from tests.server_process import ServerProcess

IMPORT = re.compile(r'(?:from|import)\s*"(\.[^"]+\.js)"')
HASHED = re.compile(r"\.[0-9a-f]{12}\.js$")
LINKED = 'link[rel="modulepreload"]'
ENTRIES = 'script[type="module"]'


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """As a site with accounts serves them, under names with a hash."""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.browser.hashed_static"}
    server = ServerProcess(tmp_path_factory.mktemp("hashed"), **settings).migrate()
    collected = server.manage("collectstatic", "--noinput")
    assert collected.returncode == 0, collected.stderr
    server.start()
    yield Site(server.url, server.directory / "db.sqlite3")
    server.end()


def addresses(page: Page, selector: str, attribute: str) -> set[str]:
    script = f"found => found.map(each => new URL(each.{attribute}).pathname)"
    return set(page.locator(selector).evaluate_all(script))


@pytest.mark.parametrize(("mode", "path"), [("site", "/"), ("site", "/learn/"), ("hashed", "/")])
def test_each_module_is_named_and_fetched_once(
    new_context: Callable[..., BrowserContext],
    request: pytest.FixtureRequest,
    mode: str,
    path: str,
) -> None:
    site: Site = request.getfixturevalue(mode)
    page = new_context().new_page()
    fetched: Counter[str] = Counter()
    answers: dict[str, Response] = {}

    def keep(asked: Request) -> None:
        address = asked.url.removeprefix(site.url)
        if address.endswith(".js"):
            fetched[address] += 1

    page.on("request", keep)
    page.on("response", lambda got: answers.update({got.url.removeprefix(site.url): got}))
    page.goto(site.url + path)
    if path == "/":
        Chat(page, site).wait_connected()
    linked, entries = addresses(page, LINKED, "href"), addresses(page, ENTRIES, "src")
    assert len(linked) > 3
    waiting, imported = [*entries], set[str]()
    while waiting:
        module = waiting.pop()
        for name in IMPORT.findall(answers[module].text()):
            found = posixpath.normpath(posixpath.join(posixpath.dirname(module), name))
            if found not in imported:
                imported.add(found)
                waiting.append(found)
    assert linked == imported
    modules = {address: fetched[address] for address in linked | entries}
    assert modules == dict.fromkeys(modules, 1)
    if mode == "hashed":
        assert [address for address in modules if not HASHED.search(address)] == []
        kept = {answers[address].headers["cache-control"] for address in modules}
        assert all("immutable" in header for header in kept), kept
