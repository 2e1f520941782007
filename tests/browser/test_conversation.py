"""Send, stream, stop, reload, watch from elsewhere: what is shown is what is kept."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Chat, Site
from tests.browser.wire import Wire

SHORT = "What is the capital of France?"
LONG = "Write a long story about a dragon, a lighthouse and a very patient cat."


def test_send_stream_and_find_again(chat: Chat) -> None:
    chat.send(SHORT)
    expect(chat.page.locator(".message.user .content")).to_have_text(SHORT)
    expect(chat.text).to_have_value("")
    chat.wait_end()

    answer = chat.check_saved()
    assert answer.strip()
    assert re.fullmatch(r"/sessions/[0-9a-f-]{36}/", chat.path)
    expect(chat.page).to_have_title(f"{SHORT} · TinyLLM")
    expect(chat.page.locator("[data-session] [aria-current]")).to_contain_text(SHORT)
    numbers = chat.answer.locator(".numbers")
    expect(numbers).to_contain_text(re.compile(r"\d+ tokens.*tokens/s.*first token after.*seed \d"))

    streamed = chat.shown
    chat.reload()
    assert chat.shown == streamed
    assert chat.check_saved() == answer


def test_the_page_shows_each_piece_as_it_comes(chat: Chat) -> None:
    chat.page.evaluate(
        """() => {
            window.lengths = [];
            new MutationObserver(() => {
                const running = document.querySelector('[data-status="RUNNING"]');
                if (running) window.lengths.push(running.message.text.length);
            }).observe(document.getElementById("conversation"), {childList: true, subtree: true});
        }"""
    )
    chat.begin(LONG)
    chat.page.wait_for_function("() => new Set(window.lengths).size > 5")
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    lengths = chat.page.evaluate("window.lengths")
    assert lengths == sorted(lengths)


def test_stop_keeps_the_text_and_continue_goes_on(chat: Chat) -> None:
    chat.begin(LONG)
    chat.wait_text(60)
    expect(chat.page.locator("#send")).to_be_hidden()
    chat.text.press("Escape")
    chat.wait_end("STOPPED")
    stopped = chat.check_saved()
    assert len(stopped) >= 60
    expect(chat.answer.locator(".outcome")).to_have_text("Stopped.")

    chat.reload()
    assert chat.check_saved() == stopped
    chat.answer.locator(".continue").click()
    chat.wait_text(len(stopped) + 40)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    assert chat.check_saved().startswith(stopped)
    expect(chat.page.locator(".message.assistant")).to_have_count(1)


def test_reload_in_mid_answer(chat: Chat) -> None:
    chat.begin(LONG)
    chat.wait_text(80)
    before = chat.raw
    chat.reload()
    chat.wait_text(len(before) + 20)
    assert chat.raw.startswith(before)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    final, shown = chat.check_saved(), chat.shown
    chat.reload()
    assert (chat.check_saved(), chat.shown) == (final, shown)


def test_reload_while_a_stopped_answer_is_continued(chat: Chat) -> None:
    chat.begin(LONG)
    chat.wait_text(60)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    chat.answer.locator(".continue").click()
    chat.wait_text(len(chat.site.text_of(chat.message_id)) + 30)
    chat.reload()
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    chat.check_saved()


def test_closing_the_tab_does_not_lose_an_answer(context: BrowserContext, site: Site) -> None:
    first = Chat.open(context, site)
    first.send(SHORT)
    expect(first.page).to_have_url(re.compile("/sessions/"))  # as soon as the answer has begun
    path = first.path
    first.page.close()
    second = Chat.open(context, site, path)
    second.wait_end()
    assert second.check_saved().strip()


def test_a_second_tab_sees_everything(context: BrowserContext, site: Site) -> None:
    first = Chat.open(context, site)
    first.send(SHORT)
    first.wait_end()
    second = Chat.open(context, site, first.path)
    first.begin(LONG)
    second.wait_text(60)
    second.page.locator("#stop").click()
    first.wait_end("STOPPED")
    second.wait_end("STOPPED")
    assert first.check_saved() == second.check_saved()
    expect(second.page.locator(".message.user").last).to_contain_text(LONG)
    visible = "() => [...document.querySelectorAll('.message')].map(e => e.innerText)"
    assert first.page.evaluate(visible) == second.page.evaluate(visible)


def test_a_lost_connection_loses_nothing(chat: Chat, wire: Wire) -> None:
    chat.begin(LONG)
    chat.wait_text(40)
    wire.cut()
    expect(chat.page.locator("html")).to_have_attribute("data-connected", "false")
    wire.mend()
    chat.wait_connected()
    expect(chat.page.locator("#offline")).to_be_hidden()
    chat.wait_text(len(chat.raw) + 40)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    chat.check_saved()


def test_what_was_sent_without_a_connection_goes_out_later(chat: Chat, wire: Wire) -> None:
    wire.cut()
    expect(chat.page.locator("#offline")).to_be_visible()
    chat.send(SHORT)
    expect(chat.page.locator(".message.user")).to_contain_text(SHORT)
    wire.mend()
    chat.wait_end()
    chat.check_saved()
    expect(chat.page.locator(".message.user")).to_have_count(1)


def test_a_model_that_is_being_loaded_is_shown_quietly(chat: Chat, wire: Wire) -> None:
    loading = {"type": "model.loading", "session_id": "", "seq": 0, "total": 5}
    wire.tell({**loading, "done": 2})
    expect(chat.page.locator("#status")).to_have_text("Loading the model… 40 %")
    wire.tell({**loading, "done": 5})
    expect(chat.page.locator("#status")).to_have_text("")


def test_a_reset_rewinds_the_page_and_goes_on(chat: Chat, wire: Wire) -> None:
    """What a server says that lost events in a crash: the page's copy may be ahead of the log."""
    chat.begin(LONG)
    chat.wait_text(60)
    chat.answer.evaluate(
        "element => { element.message.write(5, 'never logged', {from: 0, html: []}); }"
    )
    session = chat.path.split("/")[2]
    wire.late = {
        "type": "message.delta",
        "session_id": session,
        "message_id": chat.message_id,
        "seq": 999_999,
        "offset": 99_999,
        "text": "too late",
        "blocks": {"from": 0, "html": []},
    }
    wire.tell({"type": "session.reset", "session_id": session, "seq": 1_000_000})
    chat.page.wait_for_function("() => !document.body.innerText.includes('never logged')")
    chat.wait_text(120)
    chat.page.locator("#stop").click()
    chat.wait_end("STOPPED")
    chat.check_saved()
    expect(chat.page.locator(".message")).to_have_count(2)


def test_a_refused_message_is_put_back_and_the_reason_named(
    context: BrowserContext, site: Site
) -> None:
    first = Chat.open(context, site)
    first.send(SHORT)
    first.wait_end()
    second = Chat.open(context, site, first.path)
    second.page.locator("[data-session]:has([aria-current])").hover()
    second.page.locator("[data-session]:has([aria-current]) .more").click()
    second.page.locator("#session-menu [data-act=delete]").click()
    second.page.wait_for_url(f"{site.url}/")

    first.send("Are you still there?")
    error = first.page.locator("#error")
    expect(error).to_contain_text("There is no session")
    expect(first.text).to_have_value("Are you still there?")
    expect(first.page.locator(".message.pending")).to_have_count(0)
    error.get_by_role("button").click()
    expect(error).to_be_hidden()
