"""Newcomers on a site with rules: invited, or sent by a provider; stopped at a word, and at the end
of a day's tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.account_people import PASSWORD
from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_accessibility import check
from tests.browser.test_accounts import sign_in
from tests.browser.test_settings import open_panel, save
from tests.oidc_provider import Provider, running
from tests.server_process import ServerProcess

LIMIT = 100
WORD = "Tokyo"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "words").write_text(f"{WORD}\n")
    with running() as provider:
        server = served(folder, provider)
        yield Site(server.url, server.directory / "db.sqlite3")
        server.end()


def served(folder: Path, provider: Provider) -> ServerProcess:
    server = ServerProcess(
        folder,
        DJANGO_SETTINGS_MODULE="tests.browser.plain_http",
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_MODE="production",
        TINYLLM_FILTERS="words",
        TINYLLM_FILTER_WORDS=str(folder / "words"),
        TINYLLM_TOKENS_PER_DAY=str(LIMIT),
        SECRET_KEY="of the browser tests " * 3,
        ALLOWED_HOSTS="localhost",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        TINYLLM_SIGNUP="oidc",
        TINYLLM_OIDC_ISSUER=provider.url,
        TINYLLM_OIDC_NAME="Elsewhere",
        TINYLLM_OIDC_CLIENT_ID="tinyllm",
        TINYLLM_OIDC_CLIENT_SECRET="the secret",
    )
    server.migrate()
    about = ("--username", "ada", "--email", "ada@example.org")
    assert server.manage("createsuperuser", "--noinput", *about).returncode == 0
    return server.start()


@pytest.fixture(autouse=True)
def nothing_runs_on() -> None:
    """Nobody may stop another's answers here, and these end by themselves."""


def test_a_newcomer_meets_the_rules(new_context: Callable[..., BrowserContext], site: Site) -> None:
    page = new_context().new_page()
    page.goto(invitation(new_context().new_page(), site))
    page.screenshot(path=OUTPUT / "invitation.png")
    page.fill("[name=username]", "newcomer")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/")
    chat = Chat(page, site)
    chat.wait_connected()

    chat.send(f"Tell me of {WORD}.")
    expect(page.get_by_role("alert")).to_contain_text("may not be said")
    expect(chat.text).to_have_value(f"Tell me of {WORD}.")
    chat.text.fill("")

    open_panel(page)
    page.locator("#set-temperature").fill("0")
    save(page)
    chat.send("What is the capital of Japan?")
    expect(chat.answer.locator(".outcome")).to_contain_text("may not be said on this site")
    assert WORD not in chat.check_saved()
    assert chat.raw
    chat.screenshot("filtered")

    page.locator("#open-usage").click()
    expect(page.locator(".usage-today")).to_have_text(re.compile(rf"^\d+ of {LIMIT} tokens today"))
    expect(page.locator("#usage tbody tr")).to_have_count(1)
    check(chat.page, "usage")
    chat.screenshot("usage")
    page.keyboard.press("Escape")
    question = "And what else is there to say of it? " * 10
    chat.send(question)
    expect(page.get_by_role("alert")).to_contain_text("The next ones are there from")
    expect(chat.text).to_have_value(question)
    chat.screenshot("quota")
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("#sidebar")).to_be_hidden()
    chat.screenshot("narrow-quota")


def invitation(page: Page, site: Site) -> str:
    """The administrator's link for somebody new."""
    sign_in(page, site, "ada")
    page.goto(f"{site.url}/admin/chat/accountlink/add/")
    page.get_by_role("button", name="Save", exact=True).click()
    told = page.get_by_text("/account/invitation/").first
    expect(told).to_be_visible()
    link = re.search(r"http://\S+/account/invitation/[\w-]+/", told.inner_text())
    assert link
    return link[0]


def test_a_person_of_a_provider_signs_in_there(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(f"{site.url}/account/login/")
    page.screenshot(path=OUTPUT / "sign-in-provider.png")
    page.get_by_role("button", name="Elsewhere").click()
    page.wait_for_url(f"{site.url}/")
    Chat(page, site).wait_connected()
    expect(page.locator("#account")).to_contain_text("grace")
