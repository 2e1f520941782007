"""Settings, system checks, the key of local mode, and logs: each in a process of its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from chat.identity import local_user
from chat.models import Session, User
from chat.setup import has_administrator, setup_token_create, setup_token_is_valid
from tests.server_process import PATIENCE_S, ServerProcess
from tinyllm_site.secret import local_secret_key

PRODUCTION = {
    "TINYLLM_MODE": "production",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "chat.example.org",
}


def check(directory: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = ServerProcess(directory, **environment).manage("check", *arguments)
    return done.returncode, done.stdout + done.stderr


def test_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    status, said = check(tmp_path, "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert status == 0, said
    assert "no issues" in said


def test_a_missing_key_in_production_is_named(tmp_path: Path) -> None:
    status, said = check(tmp_path, **{**PRODUCTION, "SECRET_KEY": ""})
    assert status == 1
    assert "chat.E001" in said
    assert "set SECRET_KEY" in said
    assert not (tmp_path / "secret_key").exists()


def test_missing_hosts_in_production_are_named(tmp_path: Path) -> None:
    status, said = check(tmp_path, **{**PRODUCTION, "ALLOWED_HOSTS": ""})
    assert (status, "chat.E002" in said) == (1, True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"TINYLLM_MODE": "prod"}, "TINYLLM_MODE = 'prod': it must be one of local, production."),
        ({"TINYLLM_LOCAL": "0"}, "TINYLLM_LOCAL is no longer read. Set TINYLLM_MODE"),
    ],
)
def test_no_site_opens_by_a_slip_of_its_mode(
    tmp_path: Path, wrong: dict[str, str], told: str
) -> None:
    status, said = check(tmp_path, **wrong)
    assert (status, told in said) == (1, True), said


def test_impossible_numbers_are_named(tmp_path: Path) -> None:
    wrong = {"TINYLLM_THREADS": "0", "TINYLLM_KV_TOKENS": "0", "TINYLLM_MEMORY_GB": "-1"}
    wrong |= {"TINYLLM_KEEP_ALIVE_S": "-0.5"}
    status, said = check(tmp_path, TINYLLM_MAX_BATCH="auto", **wrong)
    assert (status, "chat.E003" in said, "TINYLLM_MAX_BATCH" in said) == (1, True, False)
    assert [name for name, value in wrong.items() if f"{name} = {value}" not in said] == []


def test_impossible_ways_to_sign_in_are_named(tmp_path: Path) -> None:
    wrong = {"TINYLLM_SIGNUP": "yes", "TINYLLM_OIDC_ISSUER": "https://id.example.org"}
    status, said = check(tmp_path, **wrong)
    assert (status, "chat.E004" in said, "chat.E005" in said) == (1, True, True)


def test_local_mode_makes_its_own_key(tmp_path: Path) -> None:
    assert check(tmp_path)[0] == 0
    key = tmp_path / "secret_key"
    first = key.read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(first) >= 50
    assert check(tmp_path)[0] == 0
    assert key.read_text() == first
    assert [path.name for path in tmp_path.glob("secret_key*")] == ["secret_key"]


def test_a_key_that_others_can_read_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret_key"
    key = local_secret_key(path)
    path.chmod(0o644)
    assert local_secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_of_the_site_loads_torch(tmp_path: Path) -> None:
    code = (
        "import sys, tinyllm_site.asgi, chat.management.commands.serve, tests.fake_engine;"
        "sys.exit('torch' in sys.modules)"
    )
    assert ServerProcess(tmp_path).manage("shell", "-c", code).returncode == 0


def test_migrations_say_all_that_the_models_say(tmp_path: Path) -> None:
    done = ServerProcess(tmp_path).manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout


def test_logs_are_json_with_the_request_id(tmp_path: Path) -> None:
    import httpx

    server = ServerProcess(tmp_path).migrate().start()
    httpx.post(
        f"{server.url}/api/chat",
        json={"input": "Hi"},
        headers={"x-request-id": "find-me"},
        timeout=PATIENCE_S,
    )
    assert server.end() == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (ended,) = [line for line in lines if line["event"] == "turn_ended"]
    assert ended["request_id"] == "find-me"
    assert server.rows("select request_id from chat_generation") == [("find-me",)]
    assert all({"event", "level", "timestamp", "logger"} <= set(line) for line in lines)


@pytest.mark.django_db
def test_the_setup_link_makes_one_administrator_once(settings: Any) -> None:
    settings.TINYLLM_LOCAL = True
    token = setup_token_create()
    page = f"/setup/{token}/"
    client = Client()
    assert client.get(page).status_code == 200
    weak = client.post(page, {"username": "boss", "password": "12345"})
    assert weak.status_code == 200
    assert not has_administrator()
    assert setup_token_is_valid(token=token)
    local = client.post(page, {"username": "Local", "password": "a-long-word-42"})
    assert "taken by the site itself" in local.content.decode()
    made = client.post(page, {"username": "boss", "password": "a-long-word-42"})
    assert made.status_code == 302
    boss = User.objects.get(username="boss")
    assert (boss.is_superuser, boss.is_staff, boss.check_password("a-long-word-42")) == (
        True, True, True,
    )  # fmt: skip
    again = client.post(page, {"username": "thief", "password": "a-long-word-42"})
    assert again.status_code == 404
    assert not User.objects.filter(username="thief").exists()
    assert client.login(username="boss", password="a-long-word-42")
    assert client.get("/admin/").status_code == 200


@pytest.mark.django_db
def test_a_newer_setup_link_ends_the_older() -> None:
    older, newer = setup_token_create(), setup_token_create()
    assert not setup_token_is_valid(token=older)
    assert setup_token_is_valid(token=newer)
    assert not setup_token_is_valid(token="nonsense")


@pytest.mark.django_db
def test_the_local_user_is_one_and_cannot_sign_in() -> None:
    assert local_user() == local_user()
    assert not local_user().has_usable_password()
    assert not local_user().is_staff


@pytest.mark.django_db
def test_the_admin_asks_for_a_password_in_local_mode_too(settings: Any) -> None:
    settings.TINYLLM_LOCAL = True
    assert Client().get("/admin/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_signing_in_to_the_admin_does_not_change_whose_sessions_are_shown(
    settings: Any, make_user: Any
) -> None:
    settings.TINYLLM_LOCAL = True
    Session.objects.create(owner=local_user(), title="Mine", model="chat")
    client = Client()
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    assert [row["title"] for row in client.get("/api/sessions").json()] == ["Mine"]
