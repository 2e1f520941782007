"""Every width, both colours, keys only: nothing overflows, everything can be read and reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.asked import asked_once
from tests.browser.conftest import Chat, Site

QUESTION = "Show me a Python function that adds two numbers, in a code block."

# Of each visible piece of text the contrast with what is painted behind it, if under WCAG AA.
LOW_CONTRAST = """() => {
    const pixel = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        pixel.clearRect(0, 0, 1, 1);
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
    };
    const over = (top, below) => below.map((v, i) => top[i] * top[3] + v * (1 - top[3]));
    const behind = (element) => {
        if (!element) return rgba("white").slice(0, 3);
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
    };
    const light = (c) => c.map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const low = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.textContent.trim();
        const shown = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
        if (!text || !shown || element.closest(".sr, :disabled, script")) continue;
        const below = behind(element);
        const ink = over(rgba(getComputedStyle(element).color), below);
        const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.className}: ${text.slice(0, 30)}`);
    }
    return low;
}"""


def overflow(page: Page) -> int:
    """Pixels that the page is wider than its window, or that anything sticks out of it."""
    width: int = page.evaluate(
        """() => Math.max(0, document.documentElement.scrollWidth - innerWidth,
            ...[...document.querySelectorAll("main *")]
                .filter(e => !e.closest("pre, .table, .sr, math"))
                .map(e => Math.round(e.getBoundingClientRect().right - innerWidth)))"""
    )
    return width


@pytest.fixture(scope="module")
def session_path(site: Site) -> Callable[[BrowserContext], str]:
    """The path of a session with code in it, written once for all tests here."""
    return asked_once(site, QUESTION)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280, 3840])
def test_it_fits_and_can_be_read(
    new_context: Callable[..., BrowserContext],
    site: Site,
    session_path: Callable[[BrowserContext], str],
    width: int,
    scheme: str,
) -> None:
    context = new_context(width=width, height=844, color_scheme=scheme)
    chat = Chat.open(context, site, session_path(context))
    expect(chat.answer.locator("figure.code").first).to_be_visible()
    assert overflow(chat.page) == 0
    assert chat.page.evaluate(LOW_CONTRAST) == []
    chat.screenshot(f"session-{width}-{scheme}")

    chat.page.goto(f"{site.url}/")
    chat.text.fill("你好，请介绍一下你自己。")
    expect(chat.page.locator("#hint")).to_contain_text("Chinese")
    assert overflow(chat.page) == 0
    assert chat.page.evaluate(LOW_CONTRAST) == []
    chat.screenshot(f"new-{width}-{scheme}")


def test_the_sidebar_is_a_drawer_on_a_phone(
    new_context: Callable[..., BrowserContext],
    site: Site,
    session_path: Callable[[BrowserContext], str],
) -> None:
    context = new_context(width=390, height=844, has_touch=True, is_mobile=True)
    path = session_path(context)
    chat = Chat.open(context, site)
    sidebar = chat.page.locator("#sidebar")
    expect(sidebar).to_be_hidden()
    chat.page.locator("#toggle-sidebar").click()
    expect(sidebar).to_be_visible()
    expect(chat.page.locator("#close-sidebar")).to_be_focused()
    assert chat.page.evaluate(LOW_CONTRAST) == []
    chat.page.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    chat.page.locator("#toggle-sidebar").click()
    sidebar.locator(f"a[href='{path}']").click()
    chat.page.wait_for_url(site.url + path)
    expect(chat.page.locator("#sidebar")).to_be_hidden()


def test_the_chosen_colours_stay(chat: Chat) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    light = chat.page.evaluate(colour)
    chat.page.get_by_role("radio", name="Dark").check()
    dark = chat.page.evaluate(colour)
    assert dark != light
    chat.reload()
    assert chat.page.evaluate(colour) == dark
    chat.page.get_by_role("radio", name="Auto").check()
    assert chat.page.evaluate(colour) == light


def test_keys_alone_are_enough(chat: Chat) -> None:
    page = chat.page
    page.keyboard.type("What is the capital of France?")
    page.keyboard.press("Enter")
    chat.wait_end()
    session = page.url

    page.keyboard.press("Control+k")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("no session is called this")
    expect(page.locator("#no-match")).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.type("CAPITAL of")
    hit = page.locator("#search-results mark").first
    expect(hit).to_have_text("capital of")

    page.keyboard.press("Control+b")
    expect(page.locator("#sidebar")).to_be_hidden()
    page.keyboard.press("Control+b")
    expect(page.locator("#sidebar")).to_be_visible()
    page.keyboard.press("Control+/")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("Control+Shift+o")
    page.wait_for_url(f"{chat.site.url}/")
    assert session != page.url

    reached = set()
    for _ in range(200):  # each session of the list has a link and a button
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    assert {"toggle-sidebar", "text", "search", "theme", "open-help", "model"} <= reached


def test_scrolling_up_is_respected(new_context: Callable[..., BrowserContext], site: Site) -> None:
    chat = Chat.open(new_context(width=1000, height=420), site)
    chat.begin("Write a long story about a dragon, a lighthouse and a very patient cat.")
    box, newest = chat.page.locator("#scroll"), chat.page.locator("#newest")
    at_end = """() => {
        const { scrollTop, scrollHeight, clientHeight } = document.getElementById("scroll");
        return scrollTop > 120 && scrollHeight - clientHeight - scrollTop < 48;
    }"""
    chat.page.wait_for_function(at_end)
    box.hover()
    chat.page.mouse.wheel(0, -400)
    expect(newest).to_be_visible()
    top = box.evaluate("box => box.scrollTop")
    chat.wait_text(len(chat.raw) + 120)
    assert box.evaluate("box => box.scrollTop") == top
    newest.click()
    expect(newest).to_be_hidden()
    chat.page.wait_for_function(at_end)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")


def test_text_that_comes_before_the_browser_tells_of_scrolling_is_followed(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    """Our own scrolling is told of later; more than a line may have come by then."""
    chat = Chat.open(new_context(width=1000, height=420), site)
    chat.begin("Write a long story about a dragon.")
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    gap = """() => {
        const box = document.getElementById("scroll");
        return box.scrollHeight - box.clientHeight - box.scrollTop;
    }"""
    grow = """() => {
        const box = document.getElementById("scroll");
        const text = document.createElement("div");
        text.style.height = "900px";
        const before = box.scrollHeight;
        box.scrollTop = before;
        box.lastElementChild.append(text);
        box.dispatchEvent(new Event("scroll"));
        return box.scrollHeight - before;
    }"""
    settle = """() => new Promise(done => {
        const box = document.getElementById("scroll");
        box.scrollTop = box.scrollHeight;
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)));
    })"""
    for _ in range(2):
        chat.page.evaluate(settle)
        assert chat.page.evaluate(grow) > 800
        chat.page.wait_for_function(f"() => ({gap})() < 48")
    expect(chat.page.locator("#newest")).to_be_hidden()
