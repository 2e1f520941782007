"""`manage.py ps` beside a real server: the table, the JSON, what it says where nobody answers."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import AsyncClient
from django.utils import translation

from chat import listening, operator_key
from chat.management.commands import ps
from tests.fake_engine import FakeEngine
from tests.server_process import ServerProcess

pytestmark = pytest.mark.fake_engine

MODEL: dict[str, Any] = {
    "names": ["chat"],
    "state": "ready",
    "device": "cpu",
    "size": 700_000_000,
    "running": 0,
    "waiting": 0,
    "used_blocks": 3,
    "total_blocks": 1024,
    "stays_s": 1200.0,
}


def test_a_running_server_is_found_and_asked(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path).migrate().start()
    try:
        table = server.manage("ps")
        status = json.loads(server.manage("ps", "--json").stdout)
    finally:
        assert server.end() == 0
    assert table.stdout.splitlines() == [
        "MODEL         SIZE     DEVICE   RUNNING   WAITING   CACHE   UNTIL",
        "chat, story   0.7 GB   CPU      0         0         0/0     2 minutes",
    ]
    assert status["budget"] == 1_000_000_000
    assert status["models"][0]["names"] == ["chat", "story"]
    assert not (tmp_path / "listening.json").exists()


@pytest.mark.parametrize(
    ("different", "cells"),
    [
        ({}, ("700", "CPU", "3/1024", "20 minutes")),
        ({"stays_s": 61.0}, ("1 minute",)),
        ({"stays_s": 20.0}, ("less than a minute",)),
        ({"stays_s": None}, ("forever",)),
        ({"running": 2, "stays_s": None, "device": "cuda"}, ("GPU", "in use", "2")),
        ({"state": "loading", "waiting": 1}, ("loading", "-")),
    ],
)
def test_a_row_says_how_long_a_model_stays(
    monkeypatch: pytest.MonkeyPatch, different: dict[str, Any], cells: tuple[str, ...]
) -> None:
    status = {"models": [MODEL | {"size": 700_000_000_000} | different], "budget": 1}
    monkeypatch.setattr(ps, "_ask", lambda host, port: status)
    row = said().splitlines()[1].split("   ")
    words = {word.strip().removesuffix(".0 GB") for word in row}
    assert set(cells) <= words


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("ps", *arguments, stdout=out)
    return out.getvalue()


def test_where_nobody_answers_it_says_what_to_do(tmp_path: Path, settings: Any) -> None:
    settings.TINYLLM_DATA_DIR = tmp_path
    with pytest.raises(CommandError, match=r"port 1 \(.*refused.*manage\.py serve.*--port"):
        said("--port", "1")
    with translation.override("zh-hans"), pytest.raises(CommandError, match="没有 TinyLLM 应答"):
        said("--port", "1")


def test_where_it_listens_is_known_as_long_as_it_does(tmp_path: Path, settings: Any) -> None:
    settings.TINYLLM_DATA_DIR = tmp_path
    assert listening.where() == ("127.0.0.1", 3000)
    listening.remember("127.0.0.1", 8080)
    assert listening.where() == ("127.0.0.1", 8080)
    listening.forget()
    assert listening.where() == ("127.0.0.1", 3000)
    written = {"host": "::1", "port": 9, "pid": os.getpid() + 1}
    (tmp_path / "listening.json").write_text(json.dumps(written))
    listening.forget()  # another site's
    assert listening.where() == ("::1", 9)
    (tmp_path / "listening.json").write_text("{")
    assert listening.where() == ("127.0.0.1", 3000)


@pytest.mark.django_db(transaction=True)
async def test_outside_local_mode_the_site_s_key_opens_it(
    site: FakeEngine, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TINYLLM_LOCAL, settings.SECURE_SSL_REDIRECT = False, False
    headers = ps._headers()
    good = headers.pop("Authorization")
    answer = await AsyncClient().get("/api/engine", headers={"authorization": good})
    assert answer.status_code == 200
    assert answer.json()["models"][0]["names"] == ["chat", "story"]
    for bad in ("", good[:-1], good.replace("operator", "somebody"), "Operator ", "Bearer x"):
        answer = await AsyncClient().get("/api/engine", headers={"authorization": bad})
        assert answer.status_code == 401, bad
    other = await AsyncClient().get("/api/sessions", headers={"authorization": good})
    assert other.status_code == 401
    monkeypatch.setattr(operator_key, "MAX_AGE_S", -1)
    assert not operator_key.is_valid(good)


def test_outside_local_mode_it_calls_the_site_by_its_name(settings: Any) -> None:
    assert ps._headers() == {}
    settings.TINYLLM_LOCAL, settings.TINYLLM_BEHIND_PROXY = False, True
    settings.ALLOWED_HOSTS = ["*", ".example.org"]
    headers = ps._headers()
    assert headers["Host"] == "example.org"
    assert headers["X-Forwarded-Proto"] == "https"
