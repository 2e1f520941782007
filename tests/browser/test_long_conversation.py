"""A conversation that is too long for one page, and how fast it is (`make soak`)."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from chat.message_window import PAGE
from tests.browser.conftest import Chat, Site
from tests.browser.test_sessions import rows
from tests.session_rows import Rows

__all__ = ["rows"]

ANSWER = """Answer {number}. **A list**:

- one thing with `code`
- another, [link](https://example.org)

```python
def twice(x):
    return 2 * x
```

And 你好, with a formula $x^2 + y_1$ at the end.
"""
KEY_TO_PAINT = """() => {
    window.paints = [];
    const area = document.getElementById("text");
    area.addEventListener("input", (event) => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => window.paints.push(performance.now() - event.timeStamp);
        port2.postMessage(null);  // after the frame was drawn
    }));
}"""


def talk(rows: Rows, count: int) -> uuid.UUID:
    session = rows.session("A long talk")
    parent = None
    for number in range(count):
        role, text = ("assistant", ANSWER) if number % 2 else ("user", "Question {number}?")
        parent = rows.message(session, role, text.format(number=number), parent=parent)
    return session


def first(page: Page) -> str:
    return page.locator(".message .content").first.inner_text().split(".")[0].split("?")[0]


def test_earlier_messages_come_when_the_reader_goes_there(chat: Chat, rows: Rows) -> None:
    session, page = talk(rows, 2 * PAGE + 10), chat.page
    page.goto(f"{chat.site.url}/sessions/{session}/")
    chat.wait_connected()
    messages = page.locator(".message")
    assert messages.count() == PAGE
    chat.screenshot("long-end")
    # Where the reader is stays where it is while others come in front of it.
    anchor = page.locator(f'[data-message-id="{messages.first.get_attribute("data-message-id")}"]')
    page.evaluate("document.getElementById('scroll').scrollTop = 300")
    expect(messages).to_have_count(2 * PAGE)
    top = anchor.bounding_box()
    assert top is not None
    assert -600 < top["y"] < 600
    page.evaluate("document.getElementById('scroll').scrollTop = 0")
    expect(messages).to_have_count(2 * PAGE + 10)
    expect(page.locator("#earlier")).to_be_hidden()
    assert first(page) == "Question 0"
    chat.screenshot("long-beginning")
    # They are messages like the others.
    messages.first.hover()
    messages.first.locator(".edit").click()
    expect(messages.first.locator("textarea")).to_have_value("Question 0?")


def test_it_is_printed_whole(chat: Chat, rows: Rows) -> None:
    session, page = talk(rows, PAGE + 3), chat.page
    page.add_init_script("window.print = () => { window.printed = true; };")
    page.goto(f"{chat.site.url}/sessions/{session}/")
    chat.wait_connected()
    page.keyboard.press("Control+p")
    page.wait_for_function("() => window.printed")
    assert page.locator(".message").count() == PAGE + 3


@pytest.mark.soak
def test_two_thousand_messages(
    new_context: Callable[..., BrowserContext],
    site: Site,
    rows: Rows,
    record_property: Callable[[str, object], None],
) -> None:
    """How long it takes to open, and from a key to the picture on the screen."""
    session, opened = talk(rows, 2000), []
    for _ in range(5):
        page = new_context().new_page()
        start = time.perf_counter()
        page.goto(f"{site.url}/sessions/{session}/")
        expect(page.locator(".message").last).to_be_in_viewport()
        opened.append(time.perf_counter() - start)
    page.evaluate(KEY_TO_PAINT)
    page.locator("#text").press_sequentially("How long does a key take? " * 8, delay=20)
    paints = page.evaluate("window.paints")
    assert len(paints) > 100
    record_property("opened_s", round(statistics.median(opened), 3))
    record_property("nodes", page.evaluate("document.querySelectorAll('*').length"))
    record_property("key_to_paint_p50_ms", round(statistics.median(paints), 1))
    record_property("key_to_paint_p95_ms", round(statistics.quantiles(paints, n=20)[-1], 1))
