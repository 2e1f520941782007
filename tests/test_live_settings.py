"""Where a setting comes from, which may be changed while the site runs, and when that holds."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import AsyncClient, Client

from chat import live_settings
from chat.accounts.links import invitation_create
from chat.database import in_database
from chat.errors import InvalidRequest
from chat.generation import turns
from chat.live_settings import LIVE, SettingLocked, setting_change, setting_rows, value
from chat.models import AuditEntry, SiteSetting, User
from chat.submission import Submission
from tests.account_people import PASSWORD
from tests.fake_engine import FakeEngine
from tests.server_process import ServerProcess
from tests.test_operations_engine import client_of, person
from tinyllm_site.env import HIDDEN, Read

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

DEADLINE = "TINYLLM_DEADLINE_S"


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """What the admin chose is in memory."""
    yield
    live_settings._chosen.clear()


def rows() -> dict[str, live_settings.SettingRow]:
    return {row.name: row for row in setting_rows()}


def test_a_change_holds_at_once_is_audited_and_can_be_taken_back() -> None:
    assert (value(DEADLINE), rows()[DEADLINE].source) == (0, "default")
    setting_change(name=DEADLINE, text=" 90 ")
    assert (value(DEADLINE), rows()[DEADLINE].value, rows()[DEADLINE].source) == (90, "90", "admin")
    setting_change(name=DEADLINE, text="90")
    setting_change(name=DEADLINE, text="")
    assert (value(DEADLINE), rows()[DEADLINE].source) == (0, "default")
    entries = AuditEntry.objects.order_by("id")
    assert [(e.action, e.target, e.before, e.after) for e in entries] == [
        ("setting.change", DEADLINE, {"value": None}, {"value": 90}),
        ("setting.change", DEADLINE, {"value": 90}, {"value": None}),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (DEADLINE, "1.5"),
        (DEADLINE, "-1"),
        (DEADLINE, "soon"),
        (DEADLINE, "nan"),
        (DEADLINE, "100000000"),
        ("TINYLLM_KEEP_ALIVE_S", "inf"),
        ("TINYLLM_KEEP_ALIVE_S", "-0.5"),
        ("SECRET_KEY", "x"),
        ("NOTHING", "1"),
        ("TINYLLM_SIGNUP", "maybe"),
        ("TINYLLM_SIGNUP", "1"),
        ("TINYLLM_DEFAULT_MODEL", "nothing"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        setting_change(name=name, text=text)
    assert not SiteSetting.objects.exists()
    assert not AuditEntry.objects.exists()


def test_the_environment_goes_first_and_locks(settings: Any) -> None:
    setting_change(name=DEADLINE, text="5")
    read = settings.TINYLLM_READ | {DEADLINE: Read(DEADLINE, "7", "environment")}
    settings.TINYLLM_READ, settings.TINYLLM_DEADLINE_S = read, 7
    row = rows()[DEADLINE]
    assert (row.value, row.source, row.is_locked, value(DEADLINE)) == ("7", "environment", True, 7)
    with pytest.raises(SettingLocked):
        setting_change(name=DEADLINE, text="6")
    settings.TINYLLM_READ = read | {DEADLINE: Read(DEADLINE, "7", "file")}
    row = rows()[DEADLINE]
    assert (row.value, row.source, row.is_locked, value(DEADLINE)) == ("5", "admin", False, 5)


@pytest.mark.usefixtures("fake_engine")
def test_a_word_is_one_of_those_that_are_known() -> None:
    assert rows()["TINYLLM_SIGNUP"].choices == ("closed", "invitation", "oidc", "open")
    assert set(rows()["TINYLLM_DEFAULT_MODEL"].choices) == {"chat", "story"}
    setting_change(name="TINYLLM_DEFAULT_MODEL", text="story")
    assert (value("TINYLLM_DEFAULT_MODEL"), rows()["TINYLLM_DEFAULT_MODEL"].source) == (
        "story", "admin",
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match=r"one of chat, story, not 'nothing'"):
        setting_change(name="TINYLLM_DEFAULT_MODEL", text="nothing")
    assert value("TINYLLM_DEFAULT_MODEL") == "story"


def test_who_may_sign_up_is_changed_at_once(make_user: Any, with_accounts: None) -> None:
    client, signup = Client(), "/account/signup/"
    _row, secret = invitation_create(made_by=make_user("boss"))
    invited = f"/account/invitation/{secret}/"
    shown = {}
    for word in ("invitation", "open", "closed"):
        setting_change(name="TINYLLM_SIGNUP", text=word)
        page = client.get(signup).content.decode()
        shown[word] = (client.get(invited).status_code, 'name="username"' in page)
    assert shown == {"invitation": (200, False), "open": (200, True), "closed": (404, False)}
    asked = {"username": "eve", "email": "", "password": PASSWORD}
    assert client.post(invited, asked).status_code == 404
    setting_change(name="TINYLLM_SIGNUP", text="")
    assert client.post(invited, asked).status_code == 302
    assert User.objects.filter(username="eve").exists()


async def test_a_new_session_begins_with_the_default_model(site: FakeEngine) -> None:
    client = AsyncClient(headers={"host": "localhost"})
    await in_database(setting_change, name="TINYLLM_DEFAULT_MODEL", text="story")
    page = (await client.get("/")).content.decode()
    assert re.search(r'value="story" checked', page)
    assert not re.search(r'value="chat" checked', page)
    told = await client.post("/api/chat", {"input": "Hi"}, content_type="application/json")
    assert told.json()["model"] == "story"
    own = {"input": "Hi", "model": "chat"}
    told = await client.post("/api/chat", own, content_type="application/json")
    assert told.json()["model"] == "chat"


def test_every_live_setting_is_read_and_none_is_secret(settings: Any) -> None:
    assert set(LIVE) <= set(settings.TINYLLM_READ)
    assert settings.TINYLLM_READ["SECRET_KEY"].value in ("", HIDDEN)
    assert len(settings.TINYLLM_READ) > 20


def test_doctor_lists_all_with_sources_and_no_secret(tmp_path: Path) -> None:
    environment = {
        "TINYLLM_DEADLINE_S": "33",
        "HF_TOKEN": "hf_private",
        "SECRET_KEY": "very-private",
        "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3",
    }
    done = ServerProcess(tmp_path, **environment).manage("doctor", "--settings")
    table = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert table[DEADLINE].split()[1:] == ["33", "environment", "locked"]
    assert table["TINYLLM_KEEP_ALIVE_S"].split()[1:4] == ["1800", "default", "admin"]
    assert "default" in table["TINYLLM_BACKEND"]
    assert HIDDEN in table["HF_TOKEN"]
    assert "private" not in done.stdout
    assert "private" not in done.stderr


def test_a_password_in_a_database_s_address_is_hidden(tmp_path: Path) -> None:
    code = (
        "from tinyllm_site import env; env.database(env.BASE_DIR); "
        "print(env.READ['DATABASE_URL'].value)"
    )
    url = "postgres://ada:s3cret@db.example:5432/tiny"
    import subprocess
    import sys

    environment = {**os.environ, "DATABASE_URL": url}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == url.replace("s3cret", HIDDEN)


def test_doctor_says_what_the_admin_set() -> None:
    setting_change(name=DEADLINE, text="44")
    out = io.StringIO()
    call_command("doctor", "--settings", stdout=out)
    (line,) = [each for each in out.getvalue().splitlines() if each.startswith(DEADLINE)]
    assert line.split()[1:] == ["44", "admin", "admin", "can", "change"]


async def test_the_page_changes_what_the_next_answer_is_asked_with(site: FakeEngine) -> None:
    boss = await in_database(person, "boss", "view_sitesetting", "change_sitesetting")
    client = await client_of(boss)
    told = await client.post("/admin/settings/change/", {"name": DEADLINE, "value": "77"})
    assert told.json()["value"] == "77"
    accepted = await turns().submit(
        owner_id=boss.id, submission=Submission(text="Hi", model="chat")
    )
    assert accepted.live is not None
    await accepted.live.wait_end()
    assert site.requests[0].deadline_s == 77
    await client.post("/admin/settings/change/", {"name": "TINYLLM_KEEP_ALIVE_S", "value": "60"})
    assert site.kept_alive_s == 60
    wrong = await client.post("/admin/settings/change/", {"name": DEADLINE, "value": "x"})
    assert (wrong.status_code, "whole number" in wrong.json()["error"]) == (400, True)
    chosen = {"name": "TINYLLM_SIGNUP", "value": "open"}
    assert (await client.post("/admin/settings/change/", chosen)).json()["value"] == "open"
    page = (await client.get("/admin/settings/")).content.decode()
    assert "77" in page
    assert "<option selected>open</option>" in page
    assert "TINYLLM_THREADS" in page
    changes = AuditEntry.objects.filter(action="setting.change")
    assert {e.actor for e in await in_database(lambda: list(changes))} == {"boss"}


async def test_who_may_only_look_changes_nothing(site: FakeEngine) -> None:
    looker = await client_of(await in_database(person, "looker", "view_sitesetting"))
    assert (await looker.get("/admin/settings/")).status_code == 200
    change = {"name": DEADLINE, "value": "1"}
    assert (await looker.post("/admin/settings/change/", change)).status_code == 403
    other = await client_of(await in_database(person, "other", "view_engine"))
    assert (await other.get("/admin/settings/")).status_code == 403
    assert value(DEADLINE) == 0
