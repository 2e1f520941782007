"""The story model: the person's words and the model's are one text on one page."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Chat
from tests.browser.test_accessibility import check
from tests.browser.test_layout import overflow
from tests.browser.wire import WIRES

BEGINNING = "Once upon a time, in a village by the sea,"


def test_a_story_goes_on_from_the_persons_words(chat: Chat) -> None:
    chat.page.get_by_role("radio", name="Story").check()
    expect(chat.text).to_have_attribute("placeholder", "Begin a story, or go on with it")
    chat.begin(BEGINNING)
    chat.wait_text(80)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    written = chat.check_saved()

    manuscript = chat.page.locator("#conversation")
    expect(manuscript).to_have_class("completion")
    shown = "() => [...document.querySelectorAll('.content')].map(e => e.textContent).join('')"
    assert chat.page.evaluate(shown) == BEGINNING + written
    # The model's first word stands in the line of the person's last one.
    lines = chat.page.evaluate(
        """() => [...document.querySelectorAll(".content")].map(e => e.getClientRects())
            .flatMap(r => [r[0].top, r[r.length - 1].bottom])"""
    )
    assert lines[2] < lines[1]

    chat.reload()
    assert chat.page.evaluate(shown) == BEGINNING + written
    chat.send(" But the next morning")
    chat.wait_text(20)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    end = chat.check_saved()
    assert chat.page.evaluate(shown) == f"{BEGINNING}{written} But the next morning{end}"
    chat.screenshot("story")


def test_what_is_written_is_changed_and_goes_on_from_there(chat: Chat) -> None:
    """The person's words and the model's, each as a version beside the old one."""
    page = chat.page
    page.get_by_role("radio", name="Story").check()
    WIRES[page.context].sampling = {"temperature": 0, "max_tokens": 24}
    chat.send(BEGINNING)
    chat.wait_end()
    first = chat.check_saved()
    change(chat, page.locator(".message.assistant"), "there lived a small cat named Mo.")
    expect(page.locator(".message.assistant .which")).to_have_text("2/2")
    chat.wait_end()
    second = chat.check_saved()
    assert second.startswith("there lived a small cat named Mo.")
    assert len(second) > len("there lived a small cat named Mo.")
    page.get_by_role("button", name="Earlier version").click()
    expect(page.locator(".message.assistant .which")).to_have_text("1/2")
    assert chat.raw == first
    page.get_by_role("button", name="Later version").click()
    expect(page.locator(".message.assistant .which")).to_have_text("2/2")

    # What was edited and not sent is as it was.
    person = page.locator(".message.user")
    person.locator(".content").hover()
    expect(person.locator(".edit")).to_have_css("opacity", "1")
    chat.screenshot("story-hover")
    person.locator(".edit").click()
    check(chat.page, "story-edit")
    chat.screenshot("story-edit")
    page.keyboard.press("Escape")
    assert chat.raw == second
    change(chat, person, "One day in winter,")
    expect(person.locator(".which")).to_have_text("2/2")
    chat.wait_end()
    expect(person.locator(".content")).to_have_text("One day in winter,")
    chat.screenshot("story-versions")
    page.set_viewport_size({"width": 390, "height": 844})
    assert overflow(page) == 0
    chat.screenshot("story-versions-390")


def change(chat: Chat, message: Locator, text: str) -> None:
    message.locator(".edit").click()
    chat.page.locator(".editor textarea").fill(text)
    chat.page.keyboard.press("Enter")


def test_the_choice_of_model_is_remembered(chat: Chat) -> None:
    chat.page.get_by_role("radio", name="Story").check()
    chat.reload()
    expect(chat.page.locator("#models input[value=story]")).to_be_checked()
    expect(chat.page.locator(".examples:visible")).to_contain_text("Once upon a time")
