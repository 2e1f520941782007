"""A site with a key, on the page: written, answered, read again after a reload, and found."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.server_process import ServerProcess

KEY = base64.b64encode(b"of the browser tests, 32 bytes..").decode()
TEXT = "请问怎么做面条？"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = ServerProcess(
        tmp_path_factory.mktemp("encrypted"),
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_ENCRYPTION_KEYS=KEY,
    )
    server.migrate().start()
    yield Site(server.url, server.directory / "db.sqlite3")
    server.end()


def test_a_conversation_is_kept_encrypted_and_found(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    chat = Chat.open(new_context(), site)
    chat.begin(TEXT)
    chat.wait_text(10)
    chat.text.press("Escape")
    chat.wait_end("STOPPED")
    said = chat.raw
    assert site.text_of(chat.message_id).startswith("enc1:")
    chat.reload()
    assert chat.raw == said
    page = chat.page
    for query in ("面", "面条"):
        page.locator("#search").fill(query)
        expect(page.locator("#search-results mark").last).to_have_text(query)
    expect(page.locator("#search-results li")).to_have_count(2)
    expect(page.locator("#search-note")).to_contain_text("the newest 10,000 messages are searched")
    assert page.evaluate(LOW_CONTRAST) == []
    chat.screenshot("search-encrypted")

    phone = new_context(width=390, height=844, has_touch=True, is_mobile=True, locale="zh-CN")
    page = Chat.open(phone, site).page
    page.locator("#toggle-sidebar").click()
    page.locator("#search").fill("面")
    expect(page.locator("#search-note")).to_contain_text("只搜索最新的 10000 条消息")
    expect(page.locator("#search-results li")).to_have_count(2)
    assert overflow(page) == 0
    page.screenshot(path=OUTPUT / "search-encrypted-phone.png")
