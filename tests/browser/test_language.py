"""The page speaks the browser's language, in its HTML and in what its JavaScript says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Chat, Site
from tests.browser.test_layout import overflow


@pytest.mark.parametrize(
    ("locale", "lang", "placeholder", "announced"),
    [
        ("zh-CN", "zh-hans", "输入消息", "回答提前结束，写好的部分已保留。"),
        ("fr-FR", "en", "Write a message", "The answer ended early. What was written is kept."),
    ],
)
def test_a_browser_is_spoken_to_in_its_language(
    new_context: Callable[..., BrowserContext],
    site: Site,
    locale: str,
    lang: str,
    placeholder: str,
    announced: str,
) -> None:
    chat = Chat.open(new_context(width=390, height=844, locale=locale), site)
    expect(chat.page.locator("html")).to_have_attribute("lang", lang)
    expect(chat.text).to_have_attribute("placeholder", placeholder)
    assert overflow(chat.page) == 0
    chat.begin("Write a long story about a lighthouse.")
    chat.wait_text(20)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    expect(chat.page.locator("#announcer")).to_have_text(announced)
    assert overflow(chat.page) == 0
    chat.screenshot(f"language-{lang}")
