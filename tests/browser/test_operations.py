"""An operator's afternoon: watch an answer, cancel it, look at the models, change a setting."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_content_policy import PASSWORD, manage, sign_in


def test_an_operator_runs_the_site(context: BrowserContext, site: Site) -> None:
    about = ("--username", "opal", "--email", "opal@example.com")
    manage(site, "createsuperuser", "--noinput", *about, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    page = context.new_page()
    sign_in(page, site, "opal")
    page.get_by_role("link", name="Engine").click()
    expect(page.locator("#models tr")).to_have_count(1)
    expect(page.locator("#no-requests")).to_be_visible()
    chat = Chat.open(context, site)
    chat.send("Write a very long story about a fox who counts all the stars of the sky.")
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
