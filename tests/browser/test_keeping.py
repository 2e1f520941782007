"""What a person does with conversations: rate, fork, share, import, file, keep none, speak."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from websockets.sync.client import connect

from tests.browser.asked import asked_once
from tests.browser.conftest import Chat, Site
from tests.browser.wire import WIRES

SHORT = "What is the capital of France?"
Asked = Callable[[BrowserContext], str]


@pytest.fixture(scope="module")
def asked(site: Site) -> Asked:
    return asked_once(site, SHORT)


def ratings(site: Site) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(site.database)) as connection:
        query = "SELECT value, comment FROM chat_feedback ORDER BY id DESC LIMIT 1"
        return list(connection.execute(query))


def test_an_answer_is_rated_on_keys_alone_and_the_rating_taken_back(
    context: BrowserContext, site: Site, asked: Asked
) -> None:
    chat = Chat.open(context, site, asked(context))
    page = chat.page
    down = chat.answer.locator(".rate").nth(1)
    down.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".reason textarea")).to_be_focused()
    page.keyboard.type("Too short")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".reason")).to_be_hidden()
    expect(down).to_be_focused()
    chat.reload()
    expect(down).to_have_attribute("aria-pressed", "true")
    assert ratings(site) == [(-1, "Too short")]
    down.click()
    expect(page.locator(".reason textarea")).to_have_value("Too short")
    page.locator(".withdraw").click()
    expect(down).to_have_attribute("aria-pressed", "false")


def test_a_session_is_forked_and_shared(
    new_context: Callable[..., BrowserContext], site: Site, asked: Asked
) -> None:
    context = new_context()
    chat = Chat.open(context, site, asked(context))
    page = chat.page
    answer, old = chat.raw, page.url
    chat.answer.locator(".fork").click()
    expect(page.locator("#origin")).to_contain_text(SHORT)
    assert page.url != old
    chat.wait_connected()
    assert chat.raw == answer
    chat.screenshot("forked")
    page.locator("#open-share").click()
    page.get_by_label("1 day", exact=True).check()
    page.locator("#share-form .button").click()
    address = page.locator("#share-address")
    expect(address).to_be_visible()
    links = page.request.get(f"{site.url}/api/shares").json()
    (link,) = (each for each in links if f"/{each['session_id']}/" in page.url)
    made, ends = (datetime.fromisoformat(link[at]) for at in ("created_at", "expires_at"))
    assert round((ends - made) / timedelta(days=1)) == 1
    reader = new_context(390).new_page()
    reader.goto(address.input_value())
    expect(reader.locator(".message.assistant .content")).to_have_text(answer.strip())
    page.locator("#share-links button").first.click()
    expect(page.locator("#share-note")).not_to_be_empty()
    gone = reader.request.get(address.input_value())
    assert gone.status == 404


def test_a_temporary_session_is_nowhere_and_survives_a_lost_line(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    context = new_context()
    chat = Chat.open(context, site)
    chat.page.locator("#temporary").click()
    expect(chat.page.locator("#temporary-note")).to_be_visible()
    chat.text.fill("Say one word. Rosebud-27182")
    assert chat.page.evaluate("localStorage.getItem('draft:new')") is None
    chat.text.press("Enter")
    chat.wait_end()
    wire = WIRES[context]
    wire.cut()
    expect(chat.page.locator("html")).to_have_attribute("data-connected", "false")
    wire.mend()
    chat.wait_connected()
    chat.send("And again, Rosebud-27182?")
    expect(chat.page.locator(".message")).to_have_count(4)
    chat.wait_end()
    assert chat.path == "/"
    chat.screenshot("temporary")
    for file in site.database.parent.rglob("*"):
        assert not file.is_file() or b"Rosebud-27182" not in file.read_bytes(), file
    session = chat.page.locator("#conversation").get_attribute("data-session")
    chat.page.close()
    with connect(f"{site.url.replace('http', 'ws')}/ws/chat/") as line:
        told = {"type": ""}
        while told.get("code") != "session_not_found":  # as soon as the server has heard of it
            frame = {"v": 1, "type": "session.open", "session_id": session, "after": 0}
            line.send(json.dumps(frame))
            while (told := json.loads(line.recv(timeout=60)))["type"] in ("ready", "turn.started"):
                pass


def test_sessions_are_imported_and_put_into_a_folder(
    context: BrowserContext, site: Site, tmp_path: Path
) -> None:
    said = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hello"]}}
    mapping = {"a": {"parent": None, "message": said}}
    good = {"title": "From elsewhere", "mapping": mapping, "id": str(tmp_path)}
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([good, {"title": "Broken"}]))
    page = Chat.open(context, site).page
    page.locator("#open-import").click()
    page.locator("#import-file").set_input_files(file)
    expect(page.locator("#import-named")).to_contain_text("Broken")
    expect(page.locator("#import-note")).to_contain_text("1 sessions with 1 messages")
    page.locator("#import form button").click()
    page.locator("#search").fill("From elsewhere")
    expect(page.locator("#search-results li")).to_have_count(1)
    page.locator("#search").fill("")
    item = page.locator("#sessions [data-session]").first
    title = item.locator(".name").inner_text()
    item.hover()
    item.locator(".more").click()
    page.locator("#session-menu [data-act=move]").click()
    page.locator("#move-folders button").last.click()
    page.keyboard.type("Voyages")
    page.keyboard.press("Enter")
    folder = page.locator("#folders li").filter(has_text="Voyages")
    folder.locator(".folder").click()
    expect(page.locator("#sessions [data-session] .name")).to_have_text([title])
    folder.locator(".folder").click()
    expect(page.locator("#sessions [data-session]")).not_to_have_count(1)
    page.locator("#sessions [data-session] a").nth(1).drag_to(folder)
    folder.locator(".folder").click()
    expect(page.locator("#sessions [data-session]")).to_have_count(2)
    folder.hover()
    folder.locator(".more").click()
    page.locator("#folder-menu [data-act=delete-folder]").click()
    expect(page.locator("#folders li")).to_have_count(0)
    expect(page.locator("#sessions [data-session]")).not_to_have_count(2)


VOICES = """
    globalThis.said = [];
    globalThis.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
    Object.defineProperty(globalThis, "speechSynthesis", { value: {
        speak: (one) => said.push([one.lang, one.text]), cancel: () => said.push("cancel") } });
    globalThis.SpeechRecognition = class {
        start() { globalThis.listening = this; }
        stop() { this.onend(); } };
"""
NONE = """
    delete globalThis.SpeechRecognition; delete globalThis.webkitSpeechRecognition;
    Object.defineProperty(globalThis, "speechSynthesis", { value: undefined });
"""


def test_voice_where_the_browser_has_it(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    """No browser in a test hears or speaks: ours are put in the place of its interfaces."""
    context = new_context(locale="en-GB")
    context.add_init_script(VOICES)
    chat = Chat.open(context, site)
    page = chat.page
    chat.text.fill("So:")
    page.locator("#dictate").click()
    expect(page.locator("#dictate")).to_have_attribute("aria-pressed", "true")
    page.evaluate("listening.onresult({ results: [[{ transcript: 'two and two' }]] })")
    expect(chat.text).to_have_value("So: two and two")
    assert page.evaluate("listening.lang") == "en-GB"
    page.locator("#dictate").click()
    expect(page.locator("#dictate")).to_have_attribute("aria-pressed", "false")
    chat.text.press("Enter")
    chat.wait_end()
    chat.answer.locator(".content").evaluate(
        "(content, html) => (content.innerHTML = html)",
        "<p>Look here. And there!</p><figure class='code'><pre>x = 1</pre></figure><p>Done</p>",
    )
    chat.answer.locator(".read-aloud").click()
    expect(chat.answer.locator(".read-aloud")).to_have_attribute("aria-pressed", "true")
    said = page.evaluate("said.filter((each) => each !== 'cancel')")
    assert said == [["en-GB", "Look here."], ["en-GB", "And there!"], ["en-GB", "Done"]]
    chat.answer.locator(".read-aloud").click()
    expect(chat.answer.locator(".read-aloud")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("said.at(-1)") == "cancel"

    without = new_context()
    without.add_init_script(NONE)
    other = Chat.open(without, site, chat.path)
    expect(other.page.locator(".copy").first).to_be_attached()
    expect(other.page.locator("#dictate")).to_be_hidden()
    expect(other.page.locator(".read-aloud").last).to_be_hidden()
