"""The box a person writes in: keys, input methods, drafts, and hints."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Chat, Site

QUESTION = "What is the capital of France?"


def press_enter_while_composing(chat: Chat, key_code: int, *, is_composing: bool) -> None:
    """The Enter that confirms what an input method suggests, as browsers report it."""
    chat.text.evaluate(
        """(area, [keyCode, isComposing]) => {
            area.dispatchEvent(new CompositionEvent("compositionstart", {bubbles: true}));
            area.dispatchEvent(new KeyboardEvent("keydown", {
                key: "Enter", keyCode, isComposing, bubbles: true, cancelable: true,
            }));
            area.dispatchEvent(new CompositionEvent("compositionend", {bubbles: true}));
        }""",
        [key_code, is_composing],
    )


def test_enter_of_an_input_method_never_sends(chat: Chat) -> None:
    chat.text.fill("ni hao")
    press_enter_while_composing(chat, 13, is_composing=True)
    press_enter_while_composing(chat, 229, is_composing=False)
    expect(chat.page.locator(".message")).to_have_count(0)
    expect(chat.text).to_have_value("ni hao")
    chat.text.press("Enter")
    expect(chat.page.locator(".message.user")).to_contain_text("ni hao")


def test_shift_enter_breaks_the_line_and_the_box_grows(chat: Chat) -> None:
    height = "area => area.getBoundingClientRect().height"
    chat.text.fill("one")
    before = chat.text.evaluate(height)
    for _ in range(3):
        chat.text.press("Shift+Enter")
    chat.text.press_sequentially("two")
    expect(chat.text).to_have_value("one\n\n\ntwo")
    assert chat.text.evaluate(height) > before
    chat.text.fill("line\n" * 200)
    assert chat.text.evaluate(height) <= 320


def test_nothing_but_spaces_is_not_sent(chat: Chat) -> None:
    chat.text.fill("  \n ")
    expect(chat.page.locator("#send")).to_be_disabled()
    chat.text.press("Enter")
    expect(chat.page.locator(".message")).to_have_count(0)


def test_each_session_keeps_its_own_draft(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_end()
    session = chat.path
    chat.text.fill("a thought for later")
    chat.page.goto(f"{chat.site.url}/")
    expect(chat.text).to_have_value("")
    chat.text.fill("another one")
    chat.page.goto(chat.site.url + session)
    expect(chat.text).to_have_value("a thought for later")
    chat.page.goto(f"{chat.site.url}/")
    expect(chat.text).to_have_value("another one")


def test_what_is_written_during_an_answer_stays(chat: Chat) -> None:
    chat.begin("Write a long story about a lighthouse.")
    chat.wait_text(20)
    chat.text.fill("and then?")
    chat.text.press("Enter")
    expect(chat.text).to_have_value("and then?")
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    expect(chat.text).to_have_value("and then?")
    expect(chat.page.locator(".message.user")).to_have_count(1)


def test_a_language_the_model_does_not_know_is_said_gently(chat: Chat) -> None:
    hint = chat.page.locator("#hint")
    for text, language in [
        ("你好，请介绍一下你自己。", "Chinese"),
        ("これは何ですか", "Japanese"),
        ("안녕하세요", "Korean"),
        ("Как дела?", "Russian"),
    ]:
        chat.text.fill(text)
        expect(hint).to_contain_text(f"was trained on English. Your text looks like {language}")
    chat.text.fill("The word 道 means way, and naïve façades stay quiet.")
    expect(hint).not_to_contain_text("looks like")


def test_an_example_is_put_into_the_box_and_not_sent(chat: Chat) -> None:
    example = chat.page.locator(".examples:visible button").first
    words = example.inner_text()
    example.click()
    expect(chat.text).to_have_value(words)
    expect(chat.text).to_be_focused()
    expect(chat.page.locator(".message")).to_have_count(0)


def test_copying_a_message_gives_its_exact_text(context: BrowserContext, site: Site) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat = Chat.open(context, site)
    chat.send("Show me a Python function that adds two numbers, in a code block.")
    chat.wait_end()
    read = "() => navigator.clipboard.readText()"
    chat.answer.locator(".copy").click()
    expect(chat.page.locator("#announcer")).to_have_text("Copied")
    assert chat.page.evaluate(read) == chat.check_saved()

    code = chat.answer.locator("figure.code").first
    code.hover()
    code.locator(".copy-code").click()
    expect(code.locator(".copy-code")).to_have_text("Copied")
    assert chat.page.evaluate(read) == code.locator("pre").inner_text()
    assert "def " in chat.page.evaluate(read)
