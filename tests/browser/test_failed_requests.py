"""Which failed requests fail a test: none that only a document that was left had begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE_MS, Site
from tests.browser.failed_requests import FailedRequests

HELD = "**/api/usage"
READ = "() => { fetch('/api/usage').catch(() => {}); }"
WRITE = "() => { fetch('/api/usage', {method: 'POST'}).catch(() => {}); }"
STOPPED = """async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort());
    await fetch('/api/usage', {signal: stop.signal}).catch(() => {});
}"""


@pytest.fixture
def found() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, site: Site, found: list[str]) -> Iterator[Page]:
    """Nobody answers what it asks for at /api/usage."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    context.route(HELD, lambda route: None)
    page = context.new_page()
    FailedRequests(page, found)
    page.goto(f"{site.url}/healthz")
    yield page
    context.close()


def test_a_document_that_is_left_takes_what_it_was_reading_with_it(
    page: Page, site: Site, found: list[str]
) -> None:
    ways: list[Callable[[], object]] = [
        lambda: page.reload(),
        lambda: page.goto(f"{site.url}/healthz?again"),
        lambda: page.go_back(),
    ]
    for leave in ways:
        with page.expect_event("requestfailed"):
            page.evaluate(READ)
            leave()
    page.evaluate(READ)
    page.close()
    assert found == []


def test_a_write_that_is_cut_off_is_told(page: Page, site: Site, found: list[str]) -> None:
    with page.expect_event("requestfailed"):
        page.evaluate(WRITE)
        page.reload()
    assert found == [f"POST {site.url}/api/usage: net::ERR_ABORTED"]


def test_what_fails_in_a_document_that_stays_is_told(
    page: Page, site: Site, found: list[str]
) -> None:
    page.goto(f"{site.url}/healthz#elsewhere")
    page.evaluate("() => history.replaceState(null, '', '/healthz?other')")
    with page.expect_event("requestfailed"):
        page.evaluate(STOPPED)
    page.context.unroute(HELD)
    page.context.route(HELD, lambda route: route.abort("connectionreset"))
    with page.expect_event("requestfailed"):
        page.evaluate(READ)
    reasons = ("ERR_ABORTED", "ERR_CONNECTION_RESET")
    assert found == [f"GET {site.url}/api/usage: net::{reason}" for reason in reasons]


def test_a_document_that_does_not_come_is_told(page: Page, site: Site, found: list[str]) -> None:
    page.context.route("**/gone/", lambda route: route.abort("connectionfailed"))
    with page.expect_event("requestfailed"):
        page.evaluate("() => location.assign('/gone/')")
    assert found == [f"GET {site.url}/gone/: net::ERR_CONNECTION_FAILED"]
