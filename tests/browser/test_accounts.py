"""Accounts in a real browser: signing in to chat, an authenticator app, a passkey, a token."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from django.contrib.auth.hashers import make_password
from playwright.sync_api import BrowserContext, Page, expect

from tests.account_people import PASSWORD, code_for
from tests.browser.conftest import OUTPUT, Chat, Site
from tests.browser.test_accessibility import check
from tests.browser.test_layout import LOW_CONTRAST, overflow
from tests.server_process import PATIENCE_S, ServerProcess


@dataclass(frozen=True)
class AccountSite(Site):
    """`link` is what the server printed for its first administrator."""

    link: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountSite]:
    server = ServerProcess(
        tmp_path_factory.mktemp("accounts"),
        DJANGO_SETTINGS_MODULE="tests.browser.plain_http",
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_MODE="production",
        SECRET_KEY="of the browser tests " * 3,
        ALLOWED_HOSTS="localhost",
    )
    server.migrate()
    for name in ("bob", "cyd", "dan"):
        make_account(server, name)
    server.start()
    assert server.process
    assert server.process.stdout
    link = re.search(r"http://\S+/setup/\S+", server.process.stdout.readline())
    assert link
    yield AccountSite(server.url, server.directory / "db.sqlite3", link[0])
    server.end()


def make_account(server: ServerProcess, name: str) -> None:
    row = {
        "id": uuid.uuid4().hex,
        "username": name,
        "email": f"{name}@example.org",
        "password": make_password(PASSWORD),
        "date_joined": datetime.now(UTC).isoformat(),
        **dict.fromkeys(("is_superuser", "is_staff"), 0),
        **dict.fromkeys(("first_name", "last_name"), ""),
        "is_active": 1,
    }
    values = ", ".join(f":{column}" for column in row)
    server.rows(f"INSERT INTO chat_user ({', '.join(row)}) VALUES ({values})", row)  # noqa: S608


def sign_in(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}/account/")
    page.fill("[name=login]", name)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/account/")


def prove(page: Page) -> None:
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")


def look(page: Page, name: str) -> None:
    """It fits and can be read, in both colours; a picture for a person to look at."""
    check(page, name)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert overflow(page) == 0
        assert page.evaluate(LOW_CONTRAST) == []
        page.screenshot(path=OUTPUT / f"accounts-{name}-{scheme}.png", full_page=True)


def test_the_first_administrator_signs_in_chats_and_signs_out(
    context: BrowserContext, site: AccountSite
) -> None:
    page = context.new_page()
    page.goto(site.link)
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(re.compile(r"/account/login/\?next=.*admin"))
    look(page, "sign-in")
    page.goto(f"{site.url}/")
    page.wait_for_url(re.compile(r"/account/login/\?next="))
    page.fill("[name=login]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/")

    chat = Chat(page, site)
    chat.wait_connected()
    chat.send("What is the capital of France?")
    chat.wait_end()
    session = page.url
    other = context.new_page()
    other.goto(session)
    Chat(other, site).wait_connected()
    page.locator("#account").click()
    page.wait_for_url(f"{site.url}/account/")
    look(page, "account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url(f"{site.url}/account/login/")
    # The page that was open elsewhere is not left with a conversation on it.
    other.wait_for_url(re.compile(r"/account/login/\?next=.*sessions"))


def test_an_authenticator_app_is_enrolled_and_asked(
    new_context: Callable[..., BrowserContext], site: Site
) -> None:
    page = new_context(width=390, height=844).new_page()
    sign_in(page, site, "bob")
    page.get_by_role("link", name="Turn on").click()
    prove(page)
    key = page.locator("#totp-key").text_content()
    assert key
    expect(page.locator(".qr svg")).to_be_visible()
    look(page, "app-phone")
    page.fill("[name=code]", code_for(key))
    page.press("[name=code]", "Enter")
    expect(page.locator(".codes li")).to_have_count(10)
    recovery = page.locator(".codes code").first.text_content()
    assert recovery

    page = new_context(locale="zh-CN").new_page()
    page.goto(f"{site.url}/account/login/")
    page.fill("[name=login]", "bob@example.org")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="登录", exact=True).click()
    page.wait_for_url("**/account/2fa/authenticate/")
    page.fill("[name=code]", "000000")
    page.press("[name=code]", "Enter")
    expect(page.locator(".errorlist").first).to_have_text("验证码不正确，或已失效。")
    look(page, "second-factor-zh")
    page.fill("[name=code]", recovery)
    page.press("[name=code]", "Enter")
    page.wait_for_url(f"{site.url}/")
    page.goto(f"{site.url}/account/")
    look(page, "account-zh")
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("Your account")


class Authenticator:
    """A device of Chromium's that keeps passkeys. `knows(False)`: the finger is somebody else's."""

    def __init__(self, page: Page) -> None:
        self._line = page.context.new_cdp_session(page)
        self._line.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._line.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self._id = made["authenticatorId"]

    def knows(self, known: bool) -> None:
        told = {"authenticatorId": self._id, "isUserVerified": known}
        self._line.send("WebAuthn.setUserVerified", told)


def sign_out(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/logout/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site.url}/account/login/")


def test_a_passkey_signs_in_without_a_password(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    device = Authenticator(page)
    sign_in(page, site, "cyd")
    page.get_by_role("link", name="Add", exact=True).click()
    prove(page)
    page.fill("[name=name]", "My laptop")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".codes li")).to_have_count(10)
    page.goto(f"{site.url}/account/2fa/webauthn/")
    expect(page.locator(".rows strong")).to_have_text("My laptop")
    look(page, "passkeys")

    sign_out(page, site)
    page.goto(f"{site.url}/account/tokens/")
    device.knows(False)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("#passkey-trouble")).to_contain_text("The passkey was not used")
    device.knows(True)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{site.url}/account/tokens/")

    # It is a second factor too, after a password.
    sign_out(page, site)
    page.fill("[name=login]", "cyd")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{site.url}/")


def test_a_token_is_made_used_and_revoked(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    sign_in(page, site, "dan")
    page.get_by_role("link", name="API tokens").click()
    page.get_by_role("link", name="Make a token").click()
    prove(page)
    page.fill("[name=name]", "Nightly script")
    page.get_by_label("chat: write messages").uncheck()
    page.get_by_role("button", name="Make the token").click()
    text = page.locator("#token").text_content()
    assert text
    look(page, "token-made")

    def ask(method: str, path: str) -> int:
        headers = {"authorization": f"Bearer {text}"}
        return httpx.request(
            method, site.url + path, headers=headers, timeout=PATIENCE_S
        ).status_code

    assert ask("GET", "/api/sessions") == 200
    assert ask("DELETE", "/api/sessions/00000000-0000-4000-8000-000000000000") == 403
    page.get_by_role("link", name="I have it").click()
    expect(page.locator(".rows code")).to_have_text(text[:9] + "…")
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".told")).to_contain_text("revoked")
    assert ask("GET", "/api/sessions") == 401
