"""An operator fetches a model from a hub, converts it and removes it, on the page of models."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from tests.account_people import PASSWORD
from tests.browser.conftest import OUTPUT, Site
from tests.browser.test_content_policy import sign_in
from tests.hub_server import serve
from tests.server_process import ServerProcess
from tests.tiny_llama import write_tiny_llama

MODEL = "smollm2-360m"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    models = tmp_path_factory.mktemp("models")
    write_tiny_llama(models / "chat")
    files = {path.name: path.read_bytes() for path in (models / "chat").iterdir()}
    with serve({"HuggingFaceTB/SmolLM2-360M-Instruct": files}) as hub:
        server = ServerProcess(
            tmp_path_factory.mktemp("operator"),
            TINYLLM_ENGINE_FACTORY="chat.engine.build",
            TINYLLM_MODELS_DIR=str(models),
            HF_ENDPOINT=hub.endpoint,
            DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        )
        server.migrate()
        about = ("--username", "opal", "--email", "opal@example.org")
        assert server.manage("createsuperuser", "--noinput", *about).returncode == 0
        server.start()
        yield Site(server.url, server.directory / "db.sqlite3")
        server.end()


def ended(page: Page, title: str) -> None:
    expect(page.locator("#work-title")).to_have_text(title)
    expect(page.locator("#work-state")).to_have_text("done")


def test_a_model_is_fetched_converted_and_removed(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    sign_in(page, site, "opal")
    page.get_by_role("link", name="Models").click()
    row = page.locator(f"tr[data-key={MODEL}]")
    expect(row.locator("[data-is=state]")).to_have_text("not fetched")
    row.get_by_role("button", name="Fetch").click()
    ended(page, f"Fetching {MODEL}")
    expect(row.locator("[data-is=state]")).to_have_text(re.compile("^on disk"))

    row.get_by_label("Precision").select_option("bfloat16")
    row.get_by_role("button", name="Convert").click()
    ended(page, f"Converting {MODEL}")
    made = page.locator(f"tr[data-key={MODEL}-bfloat16]")
    expect(made.locator("[data-is=state]")).to_have_text(re.compile("^on disk"))
    page.screenshot(path=OUTPUT / "models-converted.png", full_page=True)

    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.once("dialog", agree)
    row.get_by_role("button", name="Remove").click()
    ended(page, f"Removing {MODEL}")
    expect(row.locator("[data-is=state]")).to_have_text("not fetched")
    assert asked == [f"Delete the files of {MODEL}? They have to be fetched again."]
    expect(made.locator("[data-is=state]")).to_have_text(re.compile("^on disk"))
