"""An administrator and people: a new password by a link, a quota, and a person who is erased."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.account_people import PASSWORD
from tests.browser.conftest import OUTPUT, REFUSING, Chat, Site
from tests.browser.test_accounts import look, make_account, sign_in
from tests.browser.test_files import attach
from tests.server_process import ServerProcess

ANOTHER = "a horse of another colour"
SECRET = "Zanzibar-31415"


@dataclass(frozen=True)
class PeopleSite(Site):
    server: ServerProcess


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleSite]:
    server = ServerProcess(
        tmp_path_factory.mktemp("people"),
        DJANGO_SETTINGS_MODULE="tests.browser.plain_http",
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_MODE="production",
        SECRET_KEY="of the browser tests " * 3,
        ALLOWED_HOSTS="localhost",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    server.migrate()
    about = ("--username", "ada", "--email", "ada@example.org")
    assert server.manage("createsuperuser", "--noinput", *about).returncode == 0
    for name in ("bob", "cyd", "dan"):
        make_account(server, name)
    server.start()
    yield PeopleSite(server.url, server.directory / "db.sqlite3", server)
    server.end()


@pytest.fixture(autouse=True)
def nothing_runs_on() -> None:
    """Nobody may stop another's answers here, and each test stops its own."""


@pytest.fixture
def admin(new_context: Callable[..., BrowserContext], site: Site) -> Page:
    """The administrator's, at the list of people."""
    page = new_context().new_page()
    sign_in(page, site, "ada")
    page.goto(f"{site.url}/admin/chat/user/")
    return page


def choose(page: Page, name: str, action: str) -> None:
    """An action on one person of the list."""
    row = page.locator("#result_list tbody tr").filter(has=page.get_by_role("link", name=name))
    row.locator("input[type=checkbox]").check()
    page.locator("#changelist-actions select").select_option(action)
    page.get_by_role("button", name="Run").click()


def password_link(admin: Page) -> str:
    """For bob, as the administrator is told it."""
    choose(admin, "bob", "make_password_link")
    told = admin.get_by_text("/account/password/link/").first
    expect(told).to_contain_text("bob, good once and for 1 day(s), shown only now")
    admin.screenshot(path=OUTPUT / "people-password-link.png")
    found = re.search(r"http://\S+/account/password/link/[\w-]+/", told.inner_text())
    assert found
    return found[0]


def test_a_forgotten_password_is_replaced_by_a_link(
    new_context: Callable[..., BrowserContext], site: Site, admin: Page
) -> None:
    old = new_context().new_page()
    sign_in(old, site, "bob")
    old.goto(f"{site.url}/")
    Chat(old, site).wait_connected()

    link = password_link(admin)
    page = new_context(width=390, height=844).new_page()
    page.goto(link)
    expect(page.locator("main")).to_contain_text("For the account bob. This link works once.")
    look(page, "password-link")
    page.fill("[name=password]", "12345678")
    page.press("[name=password]", "Enter")
    expect(page.locator(".errorlist").first).to_contain_text("entirely numeric")
    page.fill("[name=password]", ANOTHER)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/account/login/")
    expect(page.get_by_text("The password is changed. Sign in with it.")).to_be_visible()
    look(page, "password-changed")
    # Whoever knew the old one is out, with the page that was open.
    old.wait_for_url(re.compile(r"/account/login/\?next="))

    page.fill("[name=login]", "bob")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    expect(page.locator(".errorlist").first).to_be_visible()
    page.fill("[name=password]", ANOTHER)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/")
    Chat(page, site).wait_connected()
    REFUSING.add(link)
    page.goto(link)
    expect(page.locator("h1")).to_have_text("This link no longer works")
    page.screenshot(path=OUTPUT / "people-password-link-used.png")


def pick(page: Page, label: str, name: str) -> None:
    """One of the rows that a field of the admin finds. All of them: it gives up what it asked for
    where somebody types, which is a request that failed."""
    field = page.locator(f".field-{label} .select2-selection")
    field.click()
    page.locator(".select2-results__option").get_by_text(name, exact=True).click()
    expect(field).to_contain_text(name)


def test_a_role_a_quota_and_days_are_given_and_their_owner_sees_them(
    new_context: Callable[..., BrowserContext], site: Site, admin: Page
) -> None:
    admin.get_by_role("link", name="dan").click()
    admin.locator("#id_groups_from option").get_by_text("members").dblclick()
    expect(admin.locator("#id_groups_to option")).to_have_text(["members"])
    admin.get_by_role("button", name="Save", exact=True).click()
    admin.wait_for_url(f"{site.url}/admin/chat/user/")
    admin.goto(f"{site.url}/admin/chat/quota/add/")
    pick(admin, "user", "dan")
    admin.get_by_label("Tokens per day").fill("5000")
    admin.screenshot(path=OUTPUT / "people-quota.png", full_page=True)
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.locator("#result_list")).to_contain_text("5000")
    admin.goto(f"{site.url}/admin/chat/retention/add/")
    pick(admin, "group", "members")
    admin.get_by_label("Days").fill("30")
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.locator("#result_list")).to_contain_text("members")

    page = new_context().new_page()
    sign_in(page, site, "dan")
    page.goto(f"{site.url}/")
    Chat(page, site).wait_connected()
    page.locator("#open-usage").click()
    expect(page.locator(".usage-today")).to_have_text(re.compile("^0 of 5,000 tokens today"))
    page.screenshot(path=OUTPUT / "people-usage.png")
    page.goto(f"{site.url}/my-data/")
    expect(page.locator("main")).to_contain_text("30 days after the last message")
    expect(page.locator("main")).to_contain_text("So it is for the group members.")
    look(page, "my-data")


def test_a_person_is_erased(
    new_context: Callable[..., BrowserContext], site: PeopleSite, admin: Page
) -> None:
    theirs = new_context().new_page()
    sign_in(theirs, site, "cyd")
    theirs.goto(f"{site.url}/")
    chat = Chat(theirs, site)
    chat.wait_connected()
    attach(theirs, (f"{SECRET}.txt", f"What {SECRET} is like.".encode()))
    expect(theirs.locator("#attached .read")).to_have_count(1)
    chat.send(f"My secret is {SECRET}.")
    chat.enough()
    get_own_data(theirs, site)
    chat.wait_connected()
    chat.begin("Write a very long story.")  # it is being written when they are erased
    chat.wait_text(1)

    choose(admin, "cyd", "delete_selected")
    asked = admin.locator("#content, main").first
    for told in ("Users: 1", "Sessions: 1", "Messages: 4", "Files: 1"):
        expect(asked).to_contain_text(re.compile(told, re.IGNORECASE))
    assert SECRET not in admin.content()
    admin.screenshot(path=OUTPUT / "people-erase-asked.png", full_page=True)
    admin.get_by_role("button", name="Yes, I’m sure").click()
    expect(admin.get_by_text("Successfully deleted 1 user.")).to_be_visible()
    expect(admin.locator("#result_list")).not_to_contain_text("cyd")
    admin.screenshot(path=OUTPUT / "people-erased.png")
    theirs.wait_for_url(re.compile(r"/account/login/\?next="))

    nothing_is_left(site, admin)


def get_own_data(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/my-data/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Get the file").click()
    assert download.value.suggested_filename.endswith(".zip")
    page.go_back()


def nothing_is_left(site: PeopleSite, admin: Page) -> None:
    admin.goto(f"{site.url}/admin/chat/auditentry/")
    row = admin.locator("#result_list tbody tr").filter(has_text="user.delete")
    expect(row).to_contain_text("(erased)")
    expect(admin.locator("#result_list")).not_to_contain_text("cyd")
    admin.screenshot(path=OUTPUT / "people-erased-audit.png")
    counts = (
        "SELECT (SELECT count(*) FROM chat_session), (SELECT count(*) FROM chat_message),"
        " (SELECT count(*) FROM chat_file)"
    )
    assert site.server.rows(counts) == [(0, 0, 0)]
    for file in site.server.directory.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
