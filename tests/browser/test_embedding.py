"""The chat in another project's frame, below an address of its own (`tests/third_party/`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import OUTPUT
from tests.third_party_server import PASSWORD, Bookshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookshop]:
    server = Bookshop(tmp_path_factory.mktemp("bookshop"))
    server.migrate().start()
    yield server
    server.end()


def sign_in(page: Page, shop: Bookshop) -> None:
    page.goto(f"{shop.url}/assistant/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("html")).to_have_attribute("data-connected", "true")


def test_a_member_chats_in_the_shops_frame(
    new_context: Callable[..., BrowserContext], shop: Bookshop
) -> None:
    page = new_context().new_page()
    sign_in(page, shop)
    home, session = f"{shop.url}/assistant/", re.compile("/assistant/sessions/[0-9a-f-]{36}/$")
    page.fill("#text", "A book about whales")
    page.press("#text", "Enter")
    expect(page.locator(".message.assistant")).to_have_attribute("data-status", "DONE")
    expect(page).to_have_url(session)
    page.screenshot(path=OUTPUT / "embedded-wide.png")
    header, main = page.locator(".site-header").bounding_box(), page.locator("main").bounding_box()
    assert header is not None
    assert main is not None
    assert (main["y"], main["y"] + main["height"]) == (header["height"], 800)
    assert header["width"] == 1280
    # every way between the pages stays below the address
    page.keyboard.press("Control+Shift+O")
    expect(page).to_have_url(home)
    page.fill("#search", "whales")
    page.locator("#search-results a").first.click()
    expect(page).to_have_url(session)
    page.locator("#sessions .more").first.click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page).to_have_url(home)


def test_on_a_phone_the_frame_leaves_the_message_box_in_reach(
    new_context: Callable[..., BrowserContext], shop: Bookshop
) -> None:
    page = new_context(390, 844).new_page()
    sign_in(page, shop)
    page.screenshot(path=OUTPUT / "embedded-phone.png")
    header, box = page.locator(".site-header").bounding_box(), page.locator("#text").bounding_box()
    assert header is not None
    assert box is not None
    assert header["y"] == 0
    assert box["y"] + box["height"] <= 844
