"""A prompt that is used again: made, found by `/`, put into the message, changed; by keys alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_accessibility import check
from tests.session_rows import connected


@pytest.fixture(autouse=True)
def no_prompts(site: Site) -> None:
    """What other tests have kept on the same site is not listed here."""
    with closing(connected(site.database)) as connection:
        connection.execute("DELETE FROM chat_savedpromptversion")
        connection.execute("DELETE FROM chat_savedprompt")
        connection.commit()


def test_a_slash_lists_prompts_and_enter_takes_one(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    chat = Chat.open(new_context(), site)
    page, listed = chat.page, chat.page.locator("#prompts")
    chat.text.focus()
    page.keyboard.type("/")
    expect(listed.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/prompts/")
    make(page, "Explain simply", "Explain to a child of ten years:\n")
    make(page, "总结", "用三句话总结下面的内容：")
    check(page, "the prompts")
    page.screenshot(path=OUTPUT / "prompts.png")

    page.goto(site.url)
    chat.wait_connected()
    expect(chat.text).to_have_value("")
    page.keyboard.type("/")
    expect(listed.get_by_role("option")).to_have_count(3)
    expect(page.locator("#announcer")).to_have_text("2 prompts")
    check(page, "the list of prompts")
    page.screenshot(path=OUTPUT / "prompts-listed.png")
    page.keyboard.type("SIMPLY")
    expect(listed.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(chat.text).to_have_value("Explain to a child of ten years:")
    expect(listed).to_be_hidden()
    page.keyboard.type(" rain /")
    expect(listed).to_be_hidden()

    chosen_by_arrows_or_left_alone(chat)
    narrow = Chat.open(new_context(390, locale="zh-CN"), site)
    narrow.text.fill("/")
    expect(narrow.page.locator("#prompts")).to_be_visible()
    narrow.page.screenshot(path=OUTPUT / "narrow-prompts-listed.png")
    narrow.page.goto(f"{site.url}/prompts/")
    narrow.page.screenshot(path=OUTPUT / "narrow-prompts.png", full_page=True)
    change(page, site)


def chosen_by_arrows_or_left_alone(chat: Chat) -> None:
    page, listed = chat.page, chat.page.locator("#prompts")
    chat.text.fill("/")
    expect(listed).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = listed.locator('[aria-selected="true"]')
    expect(chosen).to_contain_text("总结")
    assert chosen.get_attribute("id") == chat.text.get_attribute("aria-activedescendant")
    page.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    page.keyboard.type("etc")
    expect(listed).to_be_hidden()
    chat.text.fill("")
    page.keyboard.type("/s")
    expect(listed).to_be_visible()
    page.keyboard.type("o is nothing called")
    expect(listed).to_be_hidden()


def make(page: Page, name: str, text: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.locator(".rows a", has_text=name)).to_be_visible()


def change(page: Page, site: Site) -> None:
    """And back, and away with it."""
    page.goto(f"{site.url}/prompts/")
    page.locator(".rows a", has_text="总结").press("Enter")
    page.get_by_label("Text").fill("用一句话总结：")
    page.get_by_role("button", name="Save").click()
    page.locator(".rows a", has_text="总结").click()
    expect(page.get_by_label("Text")).to_have_value("用一句话总结：")
    check(page, "one prompt")
    page.screenshot(path=OUTPUT / "prompt.png", full_page=True)
    page.get_by_role("button", name="Restore").click()
    page.locator(".rows a", has_text="总结").click()
    expect(page.get_by_label("Text")).to_have_value("用三句话总结下面的内容：")
    for _ in range(2):
        page.goto(f"{site.url}/prompts/")
        page.locator(".rows a").first.click()
        page.get_by_text("Delete this prompt").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("status")).to_contain_text("deleted")
