"""The glass box: an answer's tokens, their odds, and going on from another one."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.conftest import Chat, Site
from tests.browser.test_accessibility import check

QUESTION = "What is the capital of France?"
PERCENT = re.compile(r"\d\s?%")
TEXT = "elements => elements.filter(e => !e.matches('.bare')).map(e => e.textContent).join('')"


def answered(chat: Chat) -> tuple[Locator, Locator]:
    """The tokens of an answer, and the panel of odds."""
    chat.send(QUESTION)
    chat.wait_end()
    button = chat.answer.locator(".tool.tokens")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(chat.answer.locator(".token").first).to_be_visible()
    return chat.answer.locator(".token"), chat.answer.locator(".odds")


def test_tokens_are_looked_at_by_keyboard_and_marked(chat: Chat) -> None:
    tokens, odds = answered(chat)
    expect(chat.answer.locator(".content")).to_be_hidden()
    assert tokens.evaluate_all(TEXT).replace("⏎", "") == chat.raw
    expect(tokens.last).to_have_text("<|im_end|>")

    tokens.first.focus()
    chat.page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    chat.page.keyboard.press("Enter")
    expect(odds.locator("li")).to_have_count(10)
    expect(odds.locator(".raw")).to_have_text(PERCENT)
    expect(odds.locator(".entropy")).to_contain_text("bits")
    expect(odds.locator(".changed")).to_be_hidden()
    check(chat.page, "glass-odds")
    chat.screenshot("glass-odds")
    chat.page.keyboard.press("Escape")
    expect(odds).to_be_hidden()
    chat.page.keyboard.press("Enter")
    expect(odds.locator("li")).to_have_count(10)
    odds.get_by_role("button", name="Close the odds").click()
    expect(odds).to_be_hidden()
    expect(tokens.nth(1)).to_be_focused()

    chat.answer.get_by_label("Mark by probability").check()
    expect(tokens.last).to_have_attribute("data-level", re.compile("[0-3]"))
    chat.screenshot("glass-marked")
    chat.answer.locator(".tool.tokens").click()
    expect(chat.answer.locator(".content")).to_be_visible()


def test_an_answer_goes_on_from_another_token(chat: Chat) -> None:
    tokens, odds = answered(chat)
    first, text = chat.message_id, chat.raw
    tokens.nth(3).click()
    expect(odds.locator("li")).to_have_count(10)
    kept = tokens.evaluate_all("elements => elements.slice(0, 3).map(e => e.textContent).join('')")
    other = odds.locator("li button:enabled").first
    chosen = (other.locator("code").text_content() or "").replace("␣", " ").replace("⏎", "\n")
    other.click()
    expect(chat.answer.locator(".versions .which")).to_have_text("2/2")
    chat.wait_end()
    assert chat.message_id != first
    assert chat.check_saved().startswith(kept + chosen)
    chat.answer.locator(".tool.tokens").click()
    tokens.nth(2).click()
    expect(odds.locator(".id")).to_contain_text("given")
    chat.page.keyboard.press("Escape")
    chat.answer.locator(".earlier").click()
    expect(chat.answer.locator(".versions .which")).to_have_text("1/2")
    assert chat.raw == text


def test_the_glass_box_on_a_phone(new_context: Callable[..., BrowserContext], site: Site) -> None:
    phone = {"has_touch": True, "is_mobile": True, "locale": "zh-CN", "color_scheme": "dark"}
    chat = Chat.open(new_context(390, 844, **phone), site)
    tokens, odds = answered(chat)
    tokens.nth(2).tap()
    expect(odds.locator("li")).to_have_count(10)
    check(chat.page, "glass-phone")
    chat.screenshot("glass-phone")
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 390
