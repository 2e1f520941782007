"""An operator's afternoon: watch an answer, cancel it, look at the models, change a setting."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_content_policy import PASSWORD, manage, sign_in


def test_an_operator_runs_the_site(context: BrowserContext, site: Site) -> None:
    about = ("--username", "opal", "--email", "opal@example.com")
    manage(site, "createsuperuser", "--noinput", *about, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    page = context.new_page()
    sign_in(page, site, "opal")
    page.get_by_role("link", name="Engine").click()
    expect(page.locator("#models tr").filter(has_text="chat")).to_have_count(1)
    expect(page.locator("#no-requests")).to_be_visible()
    chat = Chat.open(context, site)
    chat.begin("Write a very long story about a fox who counts all the stars of the sky.")
    page.bring_to_front()
    cancel = page.locator("#requests").get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    expect(page.locator("#requests [data-is=who]")).to_have_text("local")
    page.screenshot(path=OUTPUT / "operations-engine.png")
    cancel.click()
    chat.wait_end("STOPPED")
    expect(page.locator("#requests tr")).to_have_count(0)
    page.get_by_role("link", name="Traces").click()
    page.locator("table a").first.click()
    expect(page.get_by_role("rowheader", name="queue")).to_be_visible()
    page.screenshot(path=OUTPUT / "operations-trace.png", full_page=True)
    page.get_by_role("link", name="Models").click()
    row = page.locator("tr[data-key=chat]")
    row.get_by_role("button", name="Unload").click()
    expect(page.locator("#work-state")).to_have_text("done")
    expect(row.locator("[data-is=state]")).to_have_text("on disk")
    row.get_by_role("button", name="Load", exact=True).click()
    expect(row.locator("[data-is=state]")).to_have_text(re.compile("in memory"))
    page.screenshot(path=OUTPUT / "operations-models.png")
    change_a_setting(page)
    keep_a_prompt(page)
    read_after_saying_why(page, chat)


def change_a_setting(page: Page) -> None:
    page.locator('a[href="/admin/settings/"]').click()
    deadline = page.locator("tr[data-name=TINYLLM_DEADLINE_S]")
    deadline.get_by_role("textbox").fill("3600")
    deadline.get_by_role("button", name="Save").click()
    expect(deadline.locator("[data-is=source]")).to_have_text("admin")
    deadline.get_by_role("textbox").fill("")
    deadline.get_by_role("button", name="Save").click()
    expect(deadline.locator("[data-is=source]")).to_have_text("default")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=OUTPUT / "operations-settings.png")


def keep_a_prompt(page: Page) -> None:
    """For everybody, changed once, and given back."""
    page.get_by_role("link", name="Prompts of the site").click()
    page.locator('a[href$="/savedprompt/add/"]').first.click()
    page.get_by_label("Name").fill("Sum up")
    for text in ("In three sentences:", "In one sentence:"):
        page.get_by_label("Text", exact=False).first.fill(text)
        page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_label("Go back to version").select_option("1")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_label("Text", exact=False).first).to_have_value("In three sentences:")
    page.screenshot(path=OUTPUT / "operations-prompt.png", full_page=True)


def read_after_saying_why(page: Page, chat: Chat) -> None:
    """And its owner sees it, on the page that is open."""
    name = chat.page.url.rstrip("/").rpartition("/")[2]
    page.goto(f"{chat.site.url}/admin/conversations/{name}/")
    page.get_by_label("Reason").fill("A fault in this answer")
    page.screenshot(path=OUTPUT / "conversation-asked.png")
    page.get_by_role("button", name="Open it for 30 minutes").click()
    expect(page.get_by_text("a fox who counts all the stars")).to_have_count(1)
    page.emulate_media(color_scheme="light")
    page.screenshot(path=OUTPUT / "conversation-read.png")
    chat.page.bring_to_front()
    expect(chat.page.locator("#opened")).to_contain_text("A fault in this answer")
    expect(chat.page.get_by_role("alert")).to_contain_text("Read by opal")
    chat.page.screenshot(path=OUTPUT / "conversation-told.png")
    chat.page.reload()
    expect(chat.page.locator("#opened")).to_contain_text("A fault in this answer")
    chat.page.screenshot(path=OUTPUT / "conversation-opened.png")
    chat.page.get_by_role("link", name="Who reads what is yours").click()
    expect(chat.page.locator("#openings li")).to_have_count(1)
    chat.page.screenshot(path=OUTPUT / "my-data.png", full_page=True)
    for each, shot in ((page, "read"), (chat.page, "my-data")):
        each.set_viewport_size({"width": 390, "height": 800})
        each.screenshot(path=OUTPUT / f"narrow-{shot}.png", full_page=True)
    chat.page.goto(f"{chat.site.url}/sessions/{name}/")
    chat.page.screenshot(path=OUTPUT / "narrow-opened.png")
