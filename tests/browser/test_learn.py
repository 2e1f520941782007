"""The learning page: all steps of one forward pass, with the numbers of the real model."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from chat.learn.steps import STEPS
from tests.browser.conftest import OUTPUT, Site
from tests.browser.test_accessibility import check

NAMES = [step.name for step in STEPS]


def opened(context: BrowserContext, site: Site) -> Page:
    """With the numbers of the sentence that it begins with."""
    page = context.new_page()
    page.goto(f"{site.url}/learn/")
    expect(page.locator("#walk")).to_be_visible()
    return page


def test_all_steps_are_walked_and_a_token_is_appended(context: BrowserContext, site: Site) -> None:
    page = opened(context, site)
    step = page.locator(".step:visible")
    chips = page.locator('[data-step="tokens"] .chips li')
    before = chips.count()
    for number, name in enumerate(NAMES, start=1):
        expect(page.locator("#step-of")).to_have_text(f"Step {number} of {len(NAMES)}")
        expect(step).to_have_attribute("data-step", name)
        expect(step.locator(".figure")).not_to_be_empty()
        page.screenshot(path=OUTPUT / f"learn-{number:02}-{name}.png", full_page=True)
        if name == "attention":
            rows = page.locator(".map g")
            expect(rows).to_have_count(before)
            rows.last.focus()
            page.keyboard.press("ArrowUp")
            expect(rows.nth(before - 2)).to_be_focused()
            expect(step.locator(".beside .numbers")).to_contain_text(re.compile(r"reads: .+ \d"))
        if number < len(NAMES):
            page.keyboard.press("ArrowRight")
    taken = step.locator(".so-far mark").text_content() or ""
    page.locator("#append").click()
    expect(chips).to_have_count(before + 1)
    assert page.locator("#sentence").input_value().endswith(taken)
    page.keyboard.press("ArrowLeft")
    expect(step).to_have_attribute("data-step", "min_p")
    expect(page.locator(".step:visible h2")).to_be_focused()

    page.locator("summary").click()
    page.locator("[name=top_k]").fill("3")
    page.locator("[name=layer]").click()
    page.locator('[data-to="top_k"]').click()
    expect(step.locator(".caption")).to_contain_text("Top-k = 3: 3 of")
    page.locator("#sentence").fill("The dog")
    page.get_by_role("button", name="Compute").click()
    expect(chips).to_have_count(3)  # the text begins with a token of its own
    page.locator(".step:visible .source a").click()
    expect(page.locator("h1")).to_have_text("inference/sampler.py")
    expect(page.locator("pre")).to_contain_text("def sample(")


def test_the_steps_on_a_phone(new_context: Callable[..., BrowserContext], site: Site) -> None:
    phone = {"has_touch": True, "is_mobile": True, "locale": "zh-CN", "color_scheme": "dark"}
    page = opened(new_context(390, 844, **phone), site)
    for name in ("tokens", "rope", "attention", "draw"):
        page.locator(f'[data-to="{name}"]').tap()
        expect(page.locator(".step:visible")).to_have_attribute("data-step", name)
        check(page, name)
        page.screenshot(path=OUTPUT / f"learn-phone-{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
