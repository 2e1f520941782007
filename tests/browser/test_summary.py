"""A conversation that outgrows a small context: what the page says while it is summarised, and what
it shows then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Chat, Site
from tests.browser.test_accessibility import check
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.browser.wire import WIRES
from tests.server_process import ServerProcess

CONTEXT = 512  # tokens: a few turns fill it
WATCH_STATUS = """() => {
    window.told = [];
    const line = document.getElementById("status");
    new MutationObserver(() => window.told.push(line.textContent)).observe(line, {
        childList: true, characterData: true, subtree: true,
    });
}"""
TALK = (
    "Hi! I am Ann, and I plan a trip to Lisbon in May with my two children, Leo and Mia. "
    "Leo is 6 years old and likes trains, and Mia is 9 and loves fish and all that swims.",
    "We have three days and 600 euros for sights, trains and food. Which sights do you advise? "
    "We do not want to stand in long queues, and we like to walk in the morning.",
    "And where do we eat? Mia is allergic to nuts, and Leo wants pancakes on every day. "
    "We like small places beside the river more than large ones in the middle of the town.",
    "We arrive at the airport at ten in the evening. How do we get to a hotel near the river? "
    "The children will be tired, and we have three large bags and one that is small.",
    "Which clothes shall we take along for the three days? It may rain in May, I have heard, "
    "and in the evening it may be cold beside the river, but the sun is strong at noon.",
)
STATES = {
    "en-GB": ("Summarising earlier messages…", "Summary of what came before"),
    "zh-CN": ("正在总结之前的消息…", "之前内容的摘要"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = ServerProcess(
        tmp_path_factory.mktemp("small"),
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_CONTEXT_TOKENS=str(CONTEXT),
        TINYLLM_KV_TOKENS="4096",
    )
    server.migrate().start()
    yield Site(server.url, server.directory / "db.sqlite3")
    server.end()


@pytest.mark.parametrize(
    ("language", "width", "scheme"), [("en-GB", 1280, "light"), ("zh-CN", 390, "dark")]
)
def test_it_is_told_shown_at_the_line_and_counted(
    new_context: Callable[..., BrowserContext], site: Site, language: str, width: int, scheme: str
) -> None:
    context = new_context(width=width, height=844, locale=language, color_scheme=scheme)
    WIRES[context].sampling = {"temperature": 0, "max_tokens": 40}
    chat = Chat.open(context, site)
    page = chat.page
    choose(page)
    summarising, came_before = STATES[language]
    page.evaluate(WATCH_STATUS)
    for number, text in enumerate(TALK):
        chat.send(text)
        expect(page.locator(".message.assistant")).to_have_count(number + 1)
        chat.wait_end()
    assert summarising in page.evaluate("() => window.told")
    line = page.locator("details.memory-line")
    expect(line.locator("summary")).to_have_text(f"{came_before}▾")
    assert page.locator(".message").first.locator(".memory-line").count() == 0
    line.locator("summary").press("Enter")
    expect(line.locator("p")).to_be_visible()
    text = line.locator("p").inner_text()
    assert len(text) > 10

    page.locator("#gauge").focus()
    expect(page.locator("#gauge-detail [data-part=summary]")).to_be_visible()
    assert int(page.locator("[data-part=summary] dd").inner_text()) > 5
    assert page.evaluate(LOW_CONTRAST) == []
    assert overflow(page) == 0
    check(chat.page, "summary")
    chat.screenshot(f"summary-{language}")
    chat.reload()
    expect(line.locator("p")).to_have_text(text)
    line.scroll_into_view_if_needed()
    chat.screenshot(f"summary-closed-{language}")


def choose(page: Page) -> None:
    page.keyboard.press("Control+,")
    page.locator("#settings [value=summarise]").check()
    page.locator("#set-max_tokens").fill("40")
    page.locator("#settings footer").get_by_role("button").last.click()
    expect(page.locator("#settings")).to_be_hidden()
