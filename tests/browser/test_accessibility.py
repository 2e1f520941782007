"""What axe finds on the pages and their dialogs (nothing), and the shortcuts of the help."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.asked import asked_once
from tests.browser.conftest import REFUSING, Chat, Site
from tests.browser.wire import ENDLESS, WIRES

CODE = "Write a Python function that adds two numbers, as a code block."
SHORTCUTS = [
    "Enter",
    "Shift Enter",
    "/",
    "Esc",
    "Ctrl Shift Enter",
    "Ctrl Shift O",
    "Ctrl K",
    "Ctrl B",
    "Ctrl ,",
    "Ctrl P",
    "Ctrl /",
]
Asked = Callable[[BrowserContext], str]


@pytest.fixture(scope="package")
def asked(site: Site) -> Asked:
    return asked_once(site, CODE)


def check(page: Page, where: str) -> None:
    found = Axe().run(page).response["violations"]
    told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]
    assert told == [], where


@pytest.mark.parametrize(
    ("locale", "scheme", "width"), [("en-GB", "light", 1280), ("zh-CN", "dark", 390)]
)
def test_axe_finds_nothing(
    new_context: Callable[..., BrowserContext],
    site: Site,
    asked: Asked,
    locale: str,
    scheme: str,
    width: int,
) -> None:
    path = asked(new_context())
    context = new_context(width, locale=locale, color_scheme=scheme)
    chat = Chat.open(context, site)
    check(chat.page, "a new session")
    chat.page.locator("#temporary").click()
    check(chat.page, "a temporary one")
    chat.page.goto(site.url + path)
    chat.wait_connected()
    chat.page.locator(".message.assistant .rate").first.click()
    expect(chat.page.locator(".reason")).to_be_visible()
    check(chat.page, "a conversation, rated")
    chat.page.locator("#open-share").click()
    chat.page.locator("#share-form .button").click()
    expect(chat.page.locator("#share-made")).to_be_visible()
    check(chat.page, "the dialog that shares")
    address = chat.page.locator("#share-address").input_value()
    chat.page.keyboard.press("Escape")
    for dialog in ("help", "import", "folder-dialog", "move-dialog"):
        chat.page.evaluate("id => document.getElementById(id).showModal()", dialog)
        check(chat.page, dialog)
        chat.page.evaluate("id => document.getElementById(id).close()", dialog)
    if width < 400:
        chat.page.locator("#toggle-sidebar").click()
        expect(chat.page.locator("#close-sidebar")).to_be_focused()
    item = chat.page.locator("#sessions [data-session]").first
    item.hover()
    item.locator(".more").click()
    check(chat.page, "the list with a session's menu")
    chat.page.goto(address)
    check(chat.page, "the page behind a link")
    chat.screenshot(f"shared-{locale}")


def test_axe_finds_nothing_on_pages_beside_the_chat(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    for path in ("/my-data/", "/nothing/"):
        REFUSING.add(f"{site.url}/nothing/")
        page.goto(site.url + path)
        check(page, path)


def test_the_axe_check_can_fail(context: BrowserContext, site: Site) -> None:
    chat = Chat.open(context, site)
    chat.page.evaluate("document.getElementById('text').labels[0].remove()")
    chat.page.evaluate("document.getElementById('text').removeAttribute('placeholder')")
    with pytest.raises(AssertionError, match="label"):
        check(chat.page, "a field without a label")


def test_every_shortcut_of_the_help_works(
    context: BrowserContext, site: Site, asked: Asked
) -> None:
    chat = Chat.open(context, site, asked(context))
    keys = chat.page.keyboard
    keys.press("Control+/")
    listed = chat.page.locator("#help dt").all_inner_texts()
    assert [" ".join(each.split()) for each in listed] == SHORTCUTS
    keys.press("Escape")
    expect(chat.page.locator("#help")).to_be_hidden()
    keys.press("Control+b")
    expect(chat.page.locator("#sidebar")).to_be_hidden()
    keys.press("Control+k")
    expect(chat.page.locator("#search")).to_be_focused()
    expect(chat.page.locator("#sidebar")).to_be_visible()
    keys.press("Control+,")
    expect(chat.page.locator("#settings")).to_be_visible()
    keys.press("Escape")
    chat.text.fill("One line")
    keys.press("Shift+Enter")
    expect(chat.text).to_have_value("One line\n")
    chat.text.fill("")
    WIRES[context].sampling = ENDLESS
    keys.press("Control+Shift+Enter")
    chat.wait_text(1)
    keys.press("Escape")
    chat.wait_end("STOPPED")
    keys.press("Control+Shift+o")
    expect(chat.page).to_have_url(f"{site.url}/")


MOVING = """() => [...document.querySelectorAll("body *")].filter(element =>
    [null, "::before", "::after"].some(part => {
        const { transitionDuration, animationDuration } = getComputedStyle(element, part);
        const all = `${transitionDuration}, ${animationDuration}`.split(", ");
        return all.some(each => parseFloat(each) > 0.001);
    })).length"""


@pytest.mark.parametrize("asks", [True, False])
def test_who_asks_for_less_motion_gets_none(
    new_context: Callable[..., BrowserContext], site: Site, asks: bool
) -> None:
    motion = "reduce" if asks else "no-preference"
    chat = Chat.open(new_context(reduced_motion=motion), site)
    assert (chat.page.evaluate(MOVING) == 0) == asks


HEARD = """() => {
    window.heard = [];
    const live = "[aria-live]:not([aria-live=off]), [role=status], [role=alert]";
    const said = ({ target }) => (target.closest?.(live) ?? target.parentElement)?.innerText;
    const changed = new MutationObserver(records => window.heard.push(...records.map(said)));
    for (const region of document.querySelectorAll(live))
        changed.observe(region, { childList: true, characterData: true, subtree: true });
}"""


def test_a_screen_reader_hears_how_it_goes_and_not_each_token(chat: Chat) -> None:
    expect(chat.page.locator("#conversation")).to_have_attribute("aria-live", "off")
    chat.page.evaluate(HEARD)
    chat.send("What is the capital of France?")
    chat.wait_end()
    expect(chat.page.locator("#announcer")).to_have_text("The answer is finished.")
    heard = [each for each in chat.page.evaluate("window.heard") if each]
    assert "Thinking…" in heard
    assert "The answer is finished." in heard
    first = chat.raw.split()[0:3]
    assert not [each for each in heard if " ".join(first) in each]
    assert chat.answer.evaluate("element => element.closest('[aria-live]').id") == "conversation"
