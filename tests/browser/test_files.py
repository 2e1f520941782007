"""Files in the page: attached, asked about, cited, opened, dropped, pasted, put back."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests import document_files as made
from tests.browser.conftest import REFUSING, Chat, Site
from tests.browser.test_layout import LOW_CONTRAST, overflow

PAGES = [f"Page {n} is about {name}. " * 12 for n, name in enumerate(["bread", "rivers", "chess"])]

DROP = """([selector, name, text, times]) => {
    const data = new DataTransfer();
    data.items.add(new File([text.repeat(times)], name, { type: "text/plain" }));
    const box = document.querySelector(selector);
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    const event = (kind) => box.dispatchEvent(new DragEvent(kind, how));
    event("dragenter");
    window.dropSign = !document.getElementById("drop").hidden;
    event("dragover");
    event("drop");
}"""
# An answer as a model that follows instructions writes it, which this one need not.
CITES = """() => {
    const { message } = document.querySelector(".message.assistant");
    const html = ["<p>See [1], not [7] and <code>[1]</code>.</p>"];
    message.replaceBlocks({ from: 0, html });
    message.end({ status: "DONE", finish_reason: "stop", can_continue: false });
}"""
PASTE = """([selector, text]) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const how = { clipboardData: data, bubbles: true, cancelable: true };
    document.querySelector(selector).dispatchEvent(new ClipboardEvent("paste", how));
}"""


def attach(page: Page, *names_and_bytes: tuple[str, bytes]) -> None:
    files = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        for name, data in names_and_bytes
    ]
    page.locator("#file-input").set_input_files(files)  # type: ignore[arg-type]


def test_a_pdf_is_asked_about_cited_and_opened(chat: Chat) -> None:
    page = chat.page
    attach(page, ("report.pdf", made.pdf(*PAGES)), ("notes.md", b"# Notes\nShort."))
    chips = page.locator("#attached .chip")
    expect(chips).to_have_count(2)
    expect(page.locator("#attached .read")).to_have_count(2)
    expect(chips.first).to_contain_text("PDF")
    chat.reload()  # they are kept with the draft
    expect(page.locator("#attached .read")).to_have_count(2)
    page.get_by_role("button", name="Remove notes.md").click()
    expect(chips).to_have_count(1)
    chat.send("Which page is about chess?")
    expect(chips).to_have_count(0)
    expect(page.locator(".message.user .files .chip")).to_contain_text("report.pdf")
    chat.enough()

    citation = chat.answer.locator(".passages .chip")
    expect(citation).to_have_accessible_name("Source 1: report.pdf, whole file")
    assert page.evaluate(LOW_CONTRAST) == []
    citation.click()
    dialog = page.locator("#source")
    expect(dialog.locator(".text")).to_contain_text("Page 2 is about chess.")
    assert page.evaluate(LOW_CONTRAST) == []
    page.keyboard.press("Escape")
    expect(citation).to_be_focused()

    page.evaluate(CITES)
    chat.answer.locator(".content .cite").click()  # the only one
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    answered_again_and_edited(chat)
    shown = chat.shown
    chat.reload()
    assert chat.shown == shown
    expect(page.locator(".message.user .files .chip")).to_have_count(1)
    expect(chat.answer.locator(".passages .chip")).to_have_count(1)


def answered_again_and_edited(chat: Chat) -> None:
    """Both keep the files."""
    before = chat.message_id
    chat.answer.locator(".regenerate").click()
    expect(chat.answer).not_to_have_attribute("data-message-id", before)
    chat.enough()
    expect(chat.answer.locator(".passages .chip")).to_have_count(1)
    user = chat.page.locator(".message.user")
    user.locator(".edit").click()
    user.locator(".editor textarea").fill("Which page is about rivers?")
    user.locator(".editor textarea").press("Enter")
    expect(user.locator(".content")).to_have_text("Which page is about rivers?")
    expect(user.locator(".files .chip")).to_contain_text("report.pdf")
    chat.enough()


READ = {
    "rivers.docx": ("# Rivers of Europe", "ten countries", "Danube | 2850", "长江"),
    "costs.xlsx": ("# Costs", "Flour | 12.5", "王芳 | 1"),
    "bread.html": ("It is baked at two hundred degrees",),
}


def read_source(chat: Chat, place: int, name: str, parts: tuple[str, ...]) -> None:
    page = chat.page
    source, dialog = chat.answer.locator(".passages .chip").nth(place), page.locator("#source")
    expect(source).to_have_accessible_name(f"Source {place + 1}: {name}, whole file")
    source.click()
    for part in parts:
        expect(dialog.locator(".text")).to_contain_text(part)
    assert page.evaluate(LOW_CONTRAST) == []
    chat.screenshot(f"files-source-{place + 1}")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_word_file_a_sheet_and_a_page_are_read_sent_and_shown(chat: Chat) -> None:
    page = chat.page
    bomb = made.rezipped(made.docx(), {"word/media/zeros": bytes(5_000_000)})
    REFUSING.add(f"{chat.site.url}/api/files?model=chat")
    attach(page, ("rivers.docx", made.docx()), ("costs.xlsx", made.xlsx()))
    attach(page, ("bread.html", made.HTML.encode()), ("bomb.docx", bomb))
    read = page.locator("#attached .read")
    expect(read.filter(has_text="rivers.docx")).to_contain_text("DOCX")
    expect(read.filter(has_text="costs.xlsx")).to_contain_text("XLSX")
    expect(read.filter(has_text="bread.html")).to_contain_text("HTML")
    refused = page.locator("#attached .refused")
    expect(refused).to_contain_text("becomes far larger when it is unpacked")
    assert page.evaluate(LOW_CONTRAST) == []
    chat.screenshot("files-attached")
    page.get_by_role("button", name="Remove bomb.docx").click()
    chat.send("How long is the Danube?")
    expect(page.locator(".message.user .files .chip")).to_contain_text(
        ["rivers.docx", "costs.xlsx", "bread.html"], use_inner_text=True
    )
    chat.enough()

    sources = chat.answer.locator(".passages .chip")
    for place, (name, parts) in enumerate(READ.items()):
        read_source(chat, place, name, parts)
    chat.reload()
    expect(page.locator(".message.user .files .chip")).to_have_count(3)
    expect(sources).to_have_count(3)
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("#sidebar")).to_be_hidden()
    assert overflow(page) == 0
    chat.screenshot("files-phone")


def test_a_long_paste_becomes_a_file_and_text_again_and_files_are_dropped(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    chat = Chat.open(new_context(locale="zh-CN", width=390, height=844, has_touch=True), site)
    page = chat.page
    page.evaluate(PASTE, ["#text", "short"])
    expect(page.locator("#attached .chip")).to_have_count(0)
    long = "很长的一段话。" * 600
    chat.text.fill("请总结。")
    page.evaluate(PASTE, ["#text", long])
    chip = page.locator("#attached .read")
    expect(chip).to_contain_text("粘贴的文本.txt")
    expect(chat.text).to_have_value("请总结。")
    page.get_by_role("button", name="放回输入框").click()
    expect(page.locator("#attached .chip")).to_have_count(0)
    expect(chat.text).to_have_value("请总结。" + long)
    chat.text.fill("")

    page.evaluate(DROP, ["#text", "big.txt", "x", 20_000_001])
    expect(page.locator("#attached .refused .detail")).to_have_text(
        "“big.txt”超过了每个文件 20 MB 的上限。"
    )
    page.get_by_role("button", name="移除“big.txt”").click()
    page.evaluate(DROP, ["#scroll", "bread.txt", "Bread is baked from flour.", 1])
    assert page.evaluate("dropSign")
    expect(page.locator("#drop")).to_be_hidden()
    expect(chip).to_contain_text("bread.txt")
    assert overflow(page) == 0
    page.locator("#send").click()  # with a file alone
    chat.enough()
    expect(page.locator("#title")).to_have_text("bread.txt")
    expect(page.locator(".message.user .content")).to_be_hidden()
    expect(page.locator(".message.user .files .chip")).to_be_visible()
    assert overflow(page) == 0
