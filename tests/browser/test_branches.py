"""Versions of a message: edit, answer again, look at another one, here and on another page."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.conftest import Chat, Site
from tests.browser.wire import ENDLESS, WIRES, Wire

SHORT = "What is the capital of France?"
OTHER = "What is the capital of Italy?"
LONG = "Write a long story about a dragon, a lighthouse and a very patient cat."


def asked(chat: Chat) -> Locator:
    return chat.page.locator(".message.user")


def edit(chat: Chat, text: str, number: int = 0) -> None:
    message = asked(chat).nth(number)
    message.hover()
    message.locator(".edit").click()
    chat.page.locator(".editor textarea").fill(text)
    chat.page.keyboard.press("Enter")


def which(message: Locator) -> Locator:
    return message.locator(".which")


def test_an_edit_begins_another_branch_and_the_old_one_stays(
    context: BrowserContext, site: Site
) -> None:
    chat = Chat.open(context, site)
    chat.send(SHORT)
    chat.wait_end()
    first = chat.check_saved()
    chat.send("And of Spain?")
    expect(chat.page.locator(".message.assistant")).to_have_count(2)
    chat.wait_end()
    other = Chat.open(context, site, chat.path)
    expect(asked(other)).to_have_count(2)

    edit(chat, OTHER)
    expect(asked(chat)).to_have_count(1)
    expect(asked(chat).locator(".content")).to_have_text(OTHER)
    chat.wait_end()
    second = chat.check_saved()
    for page in (chat, other):
        expect(which(asked(page))).to_have_text("2/2")
        expect(asked(page).locator(".content")).to_have_text(OTHER)
    chat.screenshot("branches-edited")

    earlier = asked(chat).locator(".earlier")
    earlier.focus()
    chat.page.keyboard.press("Enter")
    for page in (chat, other):
        expect(asked(page)).to_have_count(2)
        expect(which(asked(page).first)).to_have_text("1/2")
    expect(chat.page.locator("#announcer")).to_have_text("Version 1 of 2")
    expect(earlier.first).to_be_focused()
    expect(earlier.first).to_have_attribute("aria-disabled", "true")
    assert chat.page.locator(".message.assistant").first.evaluate("e => e.message.text") == first

    other.reload()
    expect(asked(other)).to_have_count(2)
    asked(other).first.hover()
    asked(other).first.locator(".later").click()
    expect(asked(chat)).to_have_count(1)
    assert chat.raw == second


def test_an_edit_can_be_cancelled_and_without_a_change_is_none(chat: Chat) -> None:
    chat.send(SHORT)
    chat.wait_end()
    answer = chat.message_id
    asked(chat).hover()
    asked(chat).locator(".edit").click()
    editor = chat.page.locator(".editor textarea")
    expect(editor).to_be_focused()
    expect(editor).to_have_value(SHORT)
    editor.fill("Something else")
    chat.screenshot("branches-editor")
    editor.press("Escape")
    expect(editor).to_have_count(0)
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    expect(asked(chat).locator(".edit")).to_be_focused()

    asked(chat).locator(".edit").click()
    editor.press("Enter")
    expect(editor).to_have_count(0)
    chat.reload()
    assert chat.message_id == answer
    expect(which(asked(chat))).to_be_hidden()


def test_an_answer_is_written_again_and_reads_what_is_remembered(chat: Chat) -> None:
    chat.send(SHORT)
    chat.wait_end()
    first = chat.message_id
    chat.answer.locator(".regenerate").click()
    expect(which(chat.answer)).to_have_text("2/2")
    chat.wait_end()
    assert chat.message_id != first
    chat.check_saved()
    expect(chat.answer.locator(".numbers")).to_contain_text(re.compile(r"[1-9]\d* remembered"))
    chat.page.keyboard.press("Control+Shift+Enter")
    expect(which(chat.answer)).to_have_text("3/3")
    chat.wait_end()
    expect(asked(chat)).to_have_count(1)
    chat.answer.locator(".earlier").click()
    expect(which(chat.answer)).to_have_text("2/3")
    chat.answer.locator(".earlier").click()
    expect(which(chat.answer)).to_have_text("1/3")
    assert chat.message_id == first
    chat.reload()
    expect(which(chat.answer)).to_have_text("1/3")
    assert chat.message_id == first


def test_a_version_being_written_goes_on_while_another_is_read(chat: Chat) -> None:
    chat.send(SHORT)
    chat.wait_end()
    first = chat.check_saved()
    WIRES[chat.page.context].sampling = ENDLESS
    edit(chat, LONG)
    chat.wait_text(40)
    written = chat.message_id
    asked(chat).locator(".earlier").click()
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    assert chat.raw == first
    expect(chat.page.locator("#stop")).to_be_visible()
    asked(chat).locator(".later").click()
    chat.wait_text(80)
    assert chat.message_id == written
    asked(chat).locator(".earlier").click()
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    chat.page.locator("#stop").click()
    expect(chat.page.locator("#stop")).to_be_hidden()
    asked(chat).locator(".later").click()
    chat.wait_end("STOPPED")
    assert chat.message_id == written
    chat.check_saved()


def test_a_choice_made_while_the_line_was_cut_is_followed(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    context = new_context()
    chat = Chat.open(context, site)
    chat.send(SHORT)
    chat.wait_end()
    edit(chat, OTHER)
    expect(which(asked(chat))).to_have_text("2/2")
    chat.wait_end()
    other = Chat.open(new_context(), site, chat.path)
    wire: Wire = WIRES[context]
    wire.cut()
    expect(chat.page.locator("html")).to_have_attribute("data-connected", "false")
    asked(other).locator(".earlier").click()
    expect(asked(other).locator(".content")).to_have_text(SHORT)
    wire.mend()
    chat.wait_connected()
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    expect(which(asked(chat))).to_have_text("1/2")


def test_what_is_being_edited_outlives_a_choice_made_elsewhere(
    context: BrowserContext, site: Site
) -> None:
    chat = Chat.open(context, site)
    chat.send(SHORT)
    chat.wait_end()
    edit(chat, OTHER)
    chat.wait_end()
    other = Chat.open(context, site, chat.path)
    asked(chat).locator(".edit").click()
    chat.page.locator(".editor textarea").fill("Half an idea")
    asked(other).locator(".earlier").click()
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    expect(chat.text).to_have_value("Half an idea")


def test_another_model_is_chosen_from_a_menu(chat: Chat) -> None:
    chat.send("Once upon a time, in a village by the sea,")
    chat.enough()
    button = chat.answer.locator(".other-model")
    button.focus()
    chat.page.keyboard.press("Enter")
    menu = chat.page.get_by_role("menu")
    items = menu.get_by_role("menuitem")
    expect(items).to_have_count(1)
    expect(items.first).to_be_focused()
    chat.screenshot("branches-menu")
    chat.page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    items.first.click()
    expect(which(chat.answer)).to_have_text("2/2")
    chat.enough()
    chat.check_saved()
    chat.reload()
    expect(which(chat.answer)).to_have_text("2/2")
    assert chat.answer.evaluate("element => element.message.model") == "story"
    expect(chat.page.locator("#conversation")).to_have_class("chat")
    expect(chat.page.locator("#model-note")).to_contain_text("SmolLM2")


def test_versions_on_a_phone(new_context: Callable[..., BrowserContext], site: Site) -> None:
    context = new_context(390, 844, has_touch=True, is_mobile=True)
    chat = Chat.open(context, site)
    chat.send(SHORT)
    chat.wait_end()
    asked(chat).locator(".edit").tap()
    chat.screenshot("branches-phone-editor")
    chat.page.locator(".editor textarea").fill(OTHER)
    chat.page.locator(".editor .button:not(.cancel)").tap()
    expect(which(asked(chat))).to_have_text("2/2")
    chat.wait_end()
    chat.answer.locator(".regenerate").tap()
    expect(which(chat.answer)).to_have_text("2/2")
    chat.wait_end()
    expect(chat.text).to_have_value("")
    chat.screenshot("branches-phone")
    wide = chat.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    asked(chat).locator(".earlier").tap()
    expect(asked(chat).locator(".content")).to_have_text(SHORT)
    chat.reload()
    expect(which(asked(chat))).to_have_text("1/2")
