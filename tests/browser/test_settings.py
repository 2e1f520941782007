"""The settings of a session, presets, and how full the context is, as a person meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import OUTPUT, REFUSING, Chat, Site
from tests.browser.test_accessibility import check
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.session_rows import connected

QUESTION = "What is the capital of France?"


@pytest.fixture(autouse=True)
def no_presets(site: Site) -> Iterator[None]:
    """What a test keeps is of no concern to the next one: the default preset least of all."""
    yield
    with closing(connected(site.database)) as connection:
        connection.execute("UPDATE chat_generation SET preset_version_id = NULL")
        connection.execute("DELETE FROM chat_presetversion")
        connection.execute("DELETE FROM chat_preset")
        connection.commit()


def open_panel(page: Page) -> None:
    page.keyboard.press("Control+,")
    expect(page.locator("#settings")).to_be_visible()
    expect(page.locator("#whose-temperature")).not_to_be_empty()


def save(page: Page) -> None:
    page.locator("#settings footer").get_by_role("button").last.click()
    expect(page.locator("#settings")).to_be_hidden()


def field(page: Page, name: str) -> str:
    return page.locator(f"#set-{name}").input_value()


def test_what_happens_when_the_context_is_full_is_chosen_against_the_model_s_own_way(
    chat: Chat,
) -> None:
    page = chat.page
    chosen = page.locator("#settings input[name=when_full]:checked")
    open_panel(page)
    expect(chosen).to_have_value("refuse")
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Story").check()
    open_panel(page)
    expect(chosen).to_have_value("slide")
    page.locator("#settings input[name=when_full][value=refuse]").check()
    save(page)
    open_panel(page)
    expect(chosen).to_have_value("refuse")
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Chat").check()
    open_panel(page)
    expect(chosen).to_have_value("refuse")


def test_settings_of_a_new_session_are_checked_kept_and_used(chat: Chat) -> None:
    page = chat.page
    expect(page.locator("#gauge")).to_be_visible()
    own = tokens(page, "system")
    open_panel(page)
    expect(page.locator("#whose-temperature")).to_have_text("Model's default: 0.2")
    page.locator("#set-system_prompt").fill("Always answer in one word.")
    page.locator("#set-temperature").fill("3")
    page.locator("#settings summary").click()
    page.locator("#set-stop").fill("one\\ntwo")
    REFUSING.add(f"{chat.site.url}/api/settings/check")
    page.locator("#set-temperature").press("Control+Enter")
    expect(page.locator("#wrong-temperature")).to_contain_text("0 to 2")
    expect(page.locator("#set-temperature")).to_be_focused()
    expect(page.locator("#whose-temperature")).to_contain_text("Yours.")

    # what is not saved yet is still there
    page.keyboard.press("Escape")
    open_panel(page)
    assert field(page, "temperature") == "3"
    page.locator("#set-temperature").fill("0.3")
    save(page)
    expect(page.locator("[data-part=system] dd")).not_to_have_text(str(own))
    before = tokens(page, "system")
    chat.reload()
    chat.send(QUESTION)
    chat.wait_end()
    expect(page.locator("[data-part=history] dd")).not_to_have_text("0")
    assert tokens(page, "system") == before > 10
    chat.reload()
    open_panel(page)
    kept = {"temperature": "0.3", "stop": "one\\ntwo"}
    assert {name: field(page, name) for name in kept} == kept
    assert field(page, "system_prompt") == "Always answer in one word."
    page.get_by_role("button", name="Reset all").click()
    assert field(page, "temperature") == ""
    save(page)
    expect(page.locator("#open-settings[data-own]")).to_have_count(0)


def test_a_preset_is_kept_replaced_renamed_and_begins_new_sessions(chat: Chat) -> None:
    page = chat.page
    open_panel(page)
    page.locator("#set-temperature").fill("0.3")
    keep(page, "Terse")
    expect(button(page, "Use “Terse”")).to_be_visible()
    REFUSING.add(f"{chat.site.url}/api/presets")
    page.locator("#set-temperature").fill("0.4")
    keep(page, "Terse")
    expect(page.locator("#wrong-name")).to_contain_text("already have")
    button(page, "Replace it").click()
    expect(page.get_by_text("“Terse” was saved.")).to_be_visible()
    expect(page.locator("#preset-name")).to_be_focused()  # it is said of the first time too
    button(page, "Reset all").click()
    assert field(page, "temperature") == ""
    button(page, "Use “Terse”").click()
    assert field(page, "temperature") == "0.4"

    give_back_versions(page)
    button(page, "Begin new sessions with “Terse”").click()
    expect(page.get_by_text("New sessions begin with “Terse”.")).to_be_visible()
    button(page, "Rename “Terse”").click()
    page.keyboard.type("Short")
    page.keyboard.press("Enter")
    expect(button(page, "Use “Short”")).to_be_visible()
    button(page, "Delete “Short”").click()
    button(page, "Undo").click()
    expect(button(page, "Use “Short”")).to_be_focused()
    page.goto(f"{chat.site.url}/")
    open_panel(page)
    assert field(page, "temperature") == "0.4"


def give_back_versions(page: Page) -> None:
    button(page, "Versions of “Terse”").click()
    earlier = page.locator("#presets ol li")
    expect(earlier).to_have_count(2)
    expect(earlier.last).to_contain_text("temperature: 0.3")
    check(page, "preset-versions")
    page.screenshot(path=OUTPUT / "preset-versions.png")
    earlier.last.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("“Terse” is what it was in version 1.")).to_be_visible()
    assert field(page, "temperature") == "0.3"
    button(page, "Versions of “Terse”").click()
    earlier.nth(1).get_by_role("button", name="Fill in").click()
    assert field(page, "temperature") == "0.4"
    earlier.nth(1).get_by_role("button", name="Restore").click()
    expect(page.get_by_text("“Terse” is what it was in version 2.")).to_be_visible()


def keep(page: Page, name: str) -> None:
    page.locator("#preset-name").fill(name)
    page.locator("#preset-name").press("Enter")


def button(page: Page, name: str) -> Locator:
    return page.locator("#settings").get_by_role("button", name=name)


@pytest.mark.parametrize(
    ("language", "width", "scheme"), [("en-GB", 1280, "dark"), ("zh-CN", 390, "light")]
)
def test_it_can_be_read_and_says_where_the_memory_begins(
    new_context: Callable[..., BrowserContext],
    site: Site,
    language: str,
    width: int,
    scheme: str,
) -> None:
    context = new_context(width=width, height=844, locale=language, color_scheme=scheme)
    chat = Chat.open(context, site)
    page = chat.page
    open_panel(page)
    page.locator("#settings summary").click()
    page.locator("#set-top_k").fill("40")
    assert page.evaluate(LOW_CONTRAST) == []
    assert overflow(page) == 0
    sheet = "sheet => sheet.scrollWidth - sheet.clientWidth"
    assert page.locator("#settings .body").evaluate(sheet) == 0
    check(chat.page, "settings")
    chat.screenshot(f"settings-{language}")
    page.locator("#settings [value=slide]").check()
    page.locator("#set-max_tokens").fill("8")
    save(page)

    chat.send("word " * 1000)
    chat.wait_end()
    expect(page.locator("[data-part=history] dd")).not_to_have_text("0")
    # a draft that leaves no room for what was said before it, counted while it is written
    chat.text.fill("word " * 7500)
    expect(page.locator(".memory-line")).to_be_visible()
    page.locator("#gauge").focus()
    expect(page.locator("#gauge-detail")).to_be_visible()
    assert tokens(page, "message") > 7000
    assert page.evaluate(LOW_CONTRAST) == []
    assert overflow(page) == 0
    check(chat.page, "gauge")
    chat.screenshot(f"gauge-{language}")
    chat.text.fill("")
    expect(page.locator(".memory-line")).to_have_count(0)


def tokens(page: Page, part: str) -> int:
    text = page.locator(f"#gauge-detail [data-part={part}] dd").text_content() or ""
    return int(text.replace(",", ""))
