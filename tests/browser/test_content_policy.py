"""The policy in a real browser: the pages do nothing against it, and what is smuggled in fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.conftest import OUTPUT, PATIENCE_MS, ROOT, Chat, Site
from tests.browser.violations import watch_violations

PASSWORD = "correct horse battery"
MAKE_LINK = "from chat.setup import setup_token_create; print(setup_token_create())"


@pytest.fixture(scope="module")
def administrator(site: Site) -> str:
    """The name of an account that the admin lets in."""
    about = ("--username", "ada", "--email", "ada@example.com")
    manage(site, "createsuperuser", "--noinput", *about, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    return "ada"


def manage(site: Site, *arguments: str, **variables: str) -> str:
    """What a command prints that works on the site's data."""
    environment = {**os.environ, "TINYLLM_DATA_DIR": str(site.database.parent), **variables}
    command = [sys.executable, "manage.py", *arguments]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return run.stdout


def sign_in(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}/admin/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/admin/")


# What somebody could get into a page if a sanitiser failed, and the directive that stops it.
SMUGGLED = {
    "an inline script": ("script-src-elem", "<script>window.ran = true</script>"),
    "a file of this site": (
        "script-src-elem",
        "<script src='/static/ninja/swagger-ui-bundle.js'></script>",
    ),
    "an event handler": ("script-src-attr", "<svg onload='window.ran = true'></svg>"),
    "a link that is a script": ("script-src-elem", "<a href='javascript:window.ran = true'>x</a>"),
    "a style attribute": ("style-src-attr", "<p style='color: red'>x</p>"),
    "a style sheet": ("style-src-elem", "<style>body { color: red }</style>"),
    "a picture of another site": ("img-src", "<img src='http://other.example/x.png'>"),
    "another base": ("base-uri", "<base href='http://other.example/'>"),
    "a frame": ("frame-src", "<iframe src='/'></iframe>"),
    "a form to another site": ("form-action", "<form action='http://other.example/'></form>"),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_is_smuggled_in_is_refused(browser: Browser, site: Site, name: str) -> None:
    directive, html = SMUGGLED[name]
    found: list[str] = []
    with browser.new_context() as context:
        watch_violations(context, found)
        page = context.new_page()
        # The page as it is, with the smuggled part in it: parsed as the browser parses any page.
        page.route(f"{site.url}/", lambda route: smuggle(route, html))
        page.goto(f"{site.url}/")
        page.evaluate("document.querySelector('body > a[href^=javascript]')?.click()")
        page.evaluate("document.querySelector('body > form[action]')?.submit()")
        for _ in range(PATIENCE_MS // 50):
            if found:
                break
            page.wait_for_timeout(50)
        assert [each.split(" refused ")[0] for each in found] == [directive]
        assert page.evaluate("window.ran") is None


def smuggle(route: Route, html: str) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("<body>", f"<body>{html}"))


def test_pages_that_say_no_do_not_break_their_policy(browser: Browser, site: Site) -> None:
    found: list[str] = []
    # Not a context that fails on what the console says: it says that the status is 404.
    with browser.new_context(color_scheme="dark") as context:
        watch_violations(context, found)
        page = context.new_page()
        for path, title in (("/nothing/", "Not found"), ("/setup/used/", "Link used")):
            page.goto(site.url + path)
            expect(page).to_have_title(re.compile(title))
        form = manage(site, "shell", "-v", "0", "-c", MAKE_LINK).strip()
        page.goto(f"{site.url}/setup/{form}/")
        expect(page.locator("[name=username]")).to_be_visible()
        context.clear_cookies()
        page.evaluate("document.querySelector('form.card').submit()")
        expect(page).to_have_title(re.compile("Refused"))
        page.screenshot(path=OUTPUT / "policy-refused.png")
    assert found == []


@pytest.mark.parametrize("path", ["/api/docs", "/api/v1/docs"])
def test_the_documentation_of_the_api_does_not_break_its_policy(
    context: BrowserContext, site: Site, path: str
) -> None:
    page = context.new_page()
    page.goto(site.url + path)
    expect(page.locator(".opblock-summary").first).to_be_visible()
    page.locator(".opblock-summary").first.click()
    expect(page.locator(".opblock-body").first).to_be_visible()
    page.screenshot(path=OUTPUT / "policy-api-docs.png")


def test_the_admin_does_not_break_its_own(
    context: BrowserContext, site: Site, administrator: str
) -> None:
    chat = Chat.open(context, site)
    chat.send("Say hello.")
    chat.wait_end()
    page = context.new_page()
    sign_in(page, site, administrator)
    page.screenshot(path=OUTPUT / "policy-admin.png")
    page.goto(f"{site.url}/admin/chat/user/add/")
    expect(page.locator("[name=username]")).to_be_visible()
    for name in ("user", "session", "message", "generation"):
        page.goto(f"{site.url}/admin/chat/{name}/")
        page.locator("#result_list input[type=checkbox]").first.check()
        expect(page.locator("#changelist-actions")).to_be_visible()
        page.screenshot(path=OUTPUT / f"policy-admin-{name}.png")
        page.locator("#result_list tbody a").first.click()
        page.wait_for_url("**/change/**")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=OUTPUT / "policy-admin-change.png")
