"""Search on the page: keys alone, Chinese, what was found shown as text, and the way to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Chat, Site
from tests.browser.test_accessibility import check
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.browser.test_sessions import rows
from tests.session_rows import Rows

__all__ = ["rows"]


def long_session(rows: Rows, title: str, wanted: str) -> tuple[uuid.UUID, uuid.UUID]:
    """With what is wanted far above its end, and in an older branch than the one it ends in."""
    session = rows.session(title)
    root = parent = rows.message(session, "user", "Let us begin.")
    for number in range(30):
        parent = rows.message(session, "assistant", f"Line {number}.\n\n" * 3, parent=parent)
        if number == 5:
            found = parent = rows.message(session, "assistant", wanted, parent=parent)
    rows.message(session, "assistant", "Another way to begin.", parent=root)
    return session, found


def hits(page: Page) -> list[str]:
    return page.locator("#search-results li").all_inner_texts()


def wait_arrived(page: Page, site: Site, session: uuid.UUID) -> None:
    """The message that the link names is out of the address again as soon as it is shown."""
    page.wait_for_url(f"{site.url}/sessions/{session}/")


def test_arrows_and_enter_lead_to_the_message(chat: Chat, rows: Rows) -> None:
    rows.session("Walks by the estuary")
    session, message = long_session(rows, "Sea", "Here <img src=x> a ESTUARY & more")
    chat.reload()
    page = chat.page
    page.keyboard.press("Control+k")
    page.keyboard.type("estuary")
    # the whole word: two are found for its beginning already
    expect(page.locator("#search-results mark")).to_have_text(["estuary", "ESTUARY"])
    assert "Here <img src=x> a ESTUARY & more" in hits(page)[1]
    assert page.locator("#search-results img").count() == 0
    expect(page.locator("#sessions")).to_be_hidden()
    expect(page.locator("#found-count")).to_have_text("2 found")
    assert page.evaluate(LOW_CONTRAST) == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#search")).to_have_attribute("aria-activedescendant", "hit-1")
    check(chat.page, "search")
    chat.screenshot("search")
    page.keyboard.press("Enter")
    wait_arrived(page, chat.site, session)
    shown = page.locator(f'[data-message-id="{message}"]')
    expect(shown).to_be_in_viewport()
    expect(shown).to_have_class("message assistant found")
    chat.screenshot("search-message")

    page.keyboard.press("Control+k")
    page.keyboard.type("nothing has this")
    expect(page.locator("#no-match")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#sessions")).to_be_visible()
    assert page.locator("#search").input_value() == ""


def test_enter_opens_what_is_found_for_the_words_as_they_stand(chat: Chat, rows: Rows) -> None:
    wanted = rows.session("Quilts")
    rows.session("Quills")
    chat.reload()
    page = chat.page
    page.locator("#search").fill("quil")
    expect(page.locator("#search-results .name")).to_have_text(["Quills", "Quilts"])
    page.locator("#search").fill("quilt")
    page.keyboard.press("Enter")  # sooner than its results are there
    wait_arrived(page, chat.site, wanted)


def test_one_and_two_chinese_characters_are_found_on_a_phone(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    session = rows.session("晚饭")
    rows.message(session, "user", "请问怎么做面条？")
    context = new_context(width=390, height=844, has_touch=True, is_mobile=True, locale="zh-CN")
    page = Chat.open(context, site).page
    page.locator("#toggle-sidebar").click()
    for text in ("面", "面条", "做面条"):
        page.locator("#search").fill(text)
        expect(page.locator("#search-results mark")).to_have_text(text)
    expect(page.locator("#found-count")).to_have_text("找到 1 条")
    assert overflow(page) == 0
    page.screenshot(path="test-output/search-phone.png")
    page.locator("#search-results a").click()
    wait_arrived(page, site, session)
    expect(page.locator(".message.found .content")).to_have_text("请问怎么做面条？")
