"""The list of sessions: renamed, pinned, archived, deleted and brought back, on keys alone too;
saved, printed and imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import Chat, Site
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.session_rows import Rows, connected


@pytest.fixture
def rows(site: Site) -> Iterator[Rows]:
    """Sessions written past the server; those of other tests are put away."""
    with urlopen(f"{site.url}/api/sessions"):  # noqa: S310 - ours; it makes the local user
        pass
    with closing(connected(site.database)) as connection:
        connection.execute("UPDATE chat_session SET deleted_at = NULL, archived = 1")
        connection.commit()
        made = Rows(connection)
        made.owner = made.local_user()
        yield made


def names(page: Page) -> list[str]:
    return page.locator("#sessions [data-session]:visible .name").all_inner_texts()


def headings(page: Page) -> list[str]:
    return page.locator("#sessions li.day:visible").all_inner_texts()


def item(page: Page, title: str) -> Locator:
    return page.locator("#sessions [data-session]").filter(has_text=title)


def choose(page: Page, title: str, act: str) -> None:
    item(page, title).hover()
    item(page, title).locator(".more").click()
    page.locator(f"#session-menu [data-act={act}]").click()


def test_it_is_grouped_by_day_in_both_languages(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    now = datetime.now(UTC)
    for days, title in (
        (0, "Now"),
        (1, "Then"),
        (5, "This week"),
        (20, "This month"),
        (400, "Old"),
    ):
        rows.session(title, at=now - timedelta(days=days))
    rows.session("Kept", at=now - timedelta(days=500), pinned=True)
    month = (now - timedelta(days=400)).strftime("%B %Y")
    chinese = (now - timedelta(days=400)).strftime("%Y年%-m月")
    for language, expected in (
        ("en-GB", ["Pinned", "Today", "Yesterday", "Last 7 days", "Last 30 days", month]),
        ("zh-CN", ["已置顶", "今天", "昨天", "最近 7 天", "最近 30 天", chinese]),
    ):
        chat = Chat.open(new_context(locale=language, timezone_id="UTC"), site)
        expect(item(chat.page, "Kept")).to_be_visible()
        assert headings(chat.page) == expected
        assert names(chat.page)[0] == "Kept"
        assert chat.page.evaluate(LOW_CONTRAST) == []
        chat.screenshot(f"sessions-{language}")


def test_rename_pin_and_archive_are_seen_by_other_tabs(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    for title in ("Bread", "Rivers", "Stars"):
        rows.session(title)
    first = Chat.open(new_context(), site).page
    path = item(first, "Rivers").locator("a").get_attribute("href") or ""
    second = Chat.open(new_context(), site, path).page
    assert names(second) == ["Stars", "Rivers", "Bread"]

    choose(first, "Rivers", "rename")
    expect(first.locator(".rename")).to_have_value("Rivers")
    first.keyboard.type("Rivers & <b>lakes</b>")
    first.keyboard.press("Enter")
    for page in (first, second):
        expect(item(page, "Rivers & <b>lakes</b>")).to_be_visible()
    expect(second.locator("#title")).to_have_text("Rivers & <b>lakes</b>")
    expect(second).to_have_title("Rivers & <b>lakes</b> · TinyLLM")

    choose(first, "Stars", "rename")
    first.keyboard.type("Never")
    first.keyboard.press("Escape")
    expect(item(first, "Stars")).to_be_visible()

    choose(first, "Bread", "pin")
    for page in (first, second):
        expect(page.locator("#sessions [data-session] .name").first).to_have_text("Bread")
        assert headings(page)[0] == "Pinned"
    choose(second, "Stars", "archive")
    for page in (first, second):
        expect(item(page, "Stars")).to_have_count(0)
    first.locator("#show-archived").click()
    expect(item(first, "Stars")).to_be_visible()
    first.screenshot(path="test-output/sessions-archived.png")
    choose(first, "Stars", "unarchive")
    expect(item(first, "Stars")).to_have_count(0)
    first.locator("#show-all").click()
    for page in (first, second):
        expect(item(page, "Stars")).to_be_visible()
    assert names(first) == ["Bread", "Stars", "Rivers & <b>lakes</b>"]


def test_a_deleted_session_comes_back_with_undo_on_the_next_page_too(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    session = rows.session("Soup")
    rows.message(session, "user", "How is soup made?")
    page = Chat.open(new_context(), site, f"/sessions/{session}/").page
    other = Chat.open(new_context(), site, f"/sessions/{session}/").page
    choose(page, "Soup", "delete")
    page.wait_for_url(f"{site.url}/")
    undo = page.locator("#undo")
    expect(undo).to_contain_text("“Soup” was deleted.")
    expect(item(page, "Soup")).to_have_count(0)
    expect(other.locator("#error")).to_contain_text("no longer there")
    assert page.evaluate(LOW_CONTRAST) == []
    page.screenshot(path="test-output/sessions-undo.png")
    undo.get_by_role("button").click()
    page.wait_for_url(f"{site.url}/sessions/{session}/")
    expect(page.locator(".message .content")).to_have_text("How is soup made?")
    expect(item(page, "Soup")).to_be_visible()
    expect(item(other, "Soup")).to_be_visible()


def test_the_menu_works_on_keys_alone(chat: Chat, rows: Rows) -> None:
    for title in ("One", "Two"):
        rows.session(title)
    chat.reload()
    page = chat.page
    item(page, "One").locator(".more").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#session-menu")).to_be_hidden()
    expect(item(page, "One").locator(".more")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(item(page, "One")).to_have_count(0)
    expect(page.locator("#undo button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(item(page, "One").locator("a")).to_be_focused()
    # As if on another page: its row is made anew here, and keeps the focus.
    page.evaluate(
        """async (id) => {
            const { editSession } = await import("/static/chat/session_edits.js");
            return editSession(id, { title: "First" });
        }""",
        item(page, "One").get_attribute("data-session"),
    )
    expect(item(page, "First").locator("a")).to_be_focused()


def test_a_menu_goes_on_when_the_list_is_read_again_under_it(chat: Chat, rows: Rows) -> None:
    rows.session("Lamps")
    chat.reload()
    page = chat.page
    item(page, "Lamps").hover()
    item(page, "Lamps").locator(".more").click()
    item(page, "Lamps").evaluate("row => { row.id = 'old-row'; }")
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#old-row")).to_have_count(0)
    page.get_by_role("menuitem", name="Rename").click()
    expect(page.locator(".rename")).to_be_focused()
    page.keyboard.type("Lanterns")
    page.keyboard.press("Enter")
    expect(item(page, "Lanterns").locator("a")).to_be_focused()


def test_a_title_that_is_being_typed_outlives_what_happens_elsewhere(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    session = rows.session("Maps")
    page, other = (Chat.open(new_context(), site, f"/sessions/{session}/").page for _ in range(2))
    choose(page, "Maps", "rename")
    page.keyboard.type("Old ")
    choose(other, "Maps", "pin")
    choose(other, "Maps", "rename")
    other.keyboard.type("Charts")
    other.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("Charts")  # it has been heard of here
    expect(page.locator(".rename")).to_have_value("Old ")
    page.keyboard.type("maps")
    page.keyboard.press("Enter")
    for each in (page, other):
        expect(each.locator("#title")).to_have_text("Old maps")
        expect(item(each, "Old maps")).to_be_visible()
        assert headings(each) == ["Pinned"]

    # Whoever thinks better of it sees what came meanwhile, of this session and of others.
    choose(page, "Old maps", "rename")
    page.keyboard.type("Never")
    choose(other, "Old maps", "rename")
    other.keyboard.type("New maps")
    other.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("New maps")
    rows.session("Globes")
    with page.expect_response("**/api/sessions?*"):
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".rename")).to_have_value("Never")
    page.keyboard.press("Escape")
    expect(item(page, "Globes")).to_be_visible()
    assert names(page) == ["New maps", "Globes"]
    expect(item(page, "New maps").locator("a")).to_be_focused()


def test_on_a_phone_the_menu_and_the_way_back_fit(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    rows.session("A title that is much longer than the drawer of a phone could ever be wide")
    context = new_context(width=390, height=844, has_touch=True, is_mobile=True)
    page = Chat.open(context, site).page
    page.locator("#toggle-sidebar").click()
    page.locator("#sessions .more").first.click()
    expect(page.locator("#session-menu")).to_be_in_viewport(ratio=1)
    page.screenshot(path="test-output/sessions-phone-menu.png")
    page.locator("[data-act=delete]").click()
    expect(page.locator("#undo")).to_be_in_viewport(ratio=1)
    page.screenshot(path="test-output/sessions-phone-undo.png")
    assert overflow(page) == 0


def test_the_list_goes_on_when_it_is_scrolled(chat: Chat, rows: Rows) -> None:
    start = datetime.now(UTC)
    for number in range(120):
        rows.session(f"No. {number}", at=start - timedelta(minutes=number))
    chat.reload()
    page = chat.page
    seen = page.locator("#sessions [data-session]")
    assert seen.count() == 50
    expect(page.locator("#older-sessions")).to_be_attached()
    for count in (100, 120):
        page.locator("#sessions").hover()
        page.mouse.wheel(0, 10_000)
        expect(seen.nth(count - 1)).to_be_attached()
    assert names(page) == [f"No. {number}" for number in range(120)]
    expect(page.locator("#older-sessions")).to_be_hidden()


def test_a_session_is_saved_printed_whole_and_taken_in_again(
    new_context: Callable[..., BrowserContext], site: Site, rows: Rows
) -> None:
    session = rows.session("Long talk")
    parent = None
    for number in range(12):
        role = "assistant" if number % 2 else "user"
        text = f"Part {number}. " + "All of it must be on paper. " * 60
        parent = rows.message(session, role, text, parent=parent)
    page = Chat.open(new_context(color_scheme="dark"), site, f"/sessions/{session}/").page
    for form, end in (("markdown", "md"), ("json", "json")):
        item(page, "Long talk").hover()
        item(page, "Long talk").locator(".more").click()
        with page.expect_download() as download:
            page.locator(f"#session-menu [data-form={form}]").click()
        assert download.value.suggested_filename == f"Long talk.{end}"
        assert "Part 11." in download.value.path().read_text()
    page.locator("#open-import").click()
    page.locator("#import-file").set_input_files(download.value.path())
    expect(page.locator("#import-note")).to_contain_text("1 sessions with 12 messages")
    page.locator("#import form button").click()
    expect(item(page, "Long talk")).to_have_count(2)
    page.emulate_media(media="print")
    expect(page.locator("#title")).to_be_visible()
    for name in ("#sidebar", ".dock", "#toggle-sidebar"):
        expect(page.locator(name)).to_be_hidden()
    for part in page.locator(".message .content").all():
        expect(part).to_be_visible()
    assert page.evaluate(LOW_CONTRAST) == []
    page.screenshot(path="test-output/sessions-print.png")
    # A page that is cut at its window's edge prints one sheet.
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) >= 3
