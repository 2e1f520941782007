"""The story model: the person's words and the model's are one text on one page."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Chat

BEGINNING = "Once upon a time, in a village by the sea,"


def test_a_story_goes_on_from_the_persons_words(chat: Chat) -> None:
    chat.page.get_by_role("radio", name="Story").check()
    expect(chat.text).to_have_attribute("placeholder", "Begin a story, or go on with it")
    chat.send(BEGINNING)
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


def test_the_choice_of_model_is_remembered(chat: Chat) -> None:
    chat.page.get_by_role("radio", name="Story").check()
    chat.reload()
    expect(chat.page.locator("#models input[value=story]")).to_be_checked()
    expect(chat.page.locator(".examples:visible")).to_contain_text("Once upon a time")
