"""`manage.py models`, called as a person would, over a real store and a local hub."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.catalogue import Catalogue
from inference.model_store import ModelStore
from tests.hub_server import Hub, serve
from tests.model_files import load_catalogue, model_files, write_files


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve({"someone/tiny": model_files()}) as hub:
        yield hub


@pytest.fixture
def site(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> ModelStore:
    """The command's settings point at the test's models and hub; this store sees the same."""
    store = ModelStore(tmp_path / "models", load_catalogue(tmp_path))
    settings.TINYLLM_MODELS_DIR = store.models_dir
    settings.TINYLLM_HUB_ENDPOINT = hub.endpoint
    settings.TINYLLM_HUB_TOKEN = ""
    settings.TINYLLM_HUB_OFFLINE = False
    monkeypatch.setattr(Catalogue, "load", lambda: store.catalogue)
    return store


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_pulls_what_is_missing_and_nothing_twice(site: ModelStore, hub: Hub) -> None:
    assert run("pull", "--default") == "tiny is ready.\ntale is here already.\n"
    hub.log.clear()
    assert run("pull", "--default") == "tiny is here already.\ntale is here already.\n"
    assert hub.log == []


def test_the_command_lists_shows_and_removes(site: ModelStore) -> None:
    run("pull", "tiny")
    heading, tiny, half, _tale = run("list").splitlines()
    assert heading.split() == ["NAME", "KIND", "LANGUAGES", "SIZE", "STATE", "LICENSE"]
    assert tiny.split() == ["tiny", "chat", "en,", "zh", "1", "MB", "ready", "MIT"]
    assert half.split() == ["half", "completion", "en", "~1", "MB", "missing", "MIT"]
    shown = run("show", "tiny")
    for text in ("hub someone/tiny", "temperature = 0.5", str(site.directory("tiny")), "en, zh"):
        assert text in shown
    assert "run `manage.py models pull half`" in run("show", "half")
    assert run("rm", "tiny") == "tiny removed.\n"
    assert site.state("tiny")[0] == "missing"


def test_the_command_refuses_unknown_names_before_it_fetches(site: ModelStore, hub: Hub) -> None:
    with pytest.raises(CommandError, match=r"no model called 'tyni'\. Known models: tiny, half"):
        run("pull", "tiny", "tyni")
    assert hub.log == []
    for verb in ("show", "rm"):
        with pytest.raises(CommandError, match="no model called 'tyni'"):
            run(verb, "tyni")
    with pytest.raises(CommandError, match="required"):
        run("pull")


def test_the_command_reports_a_source_that_fails(site: ModelStore, hub: Hub, capsys: Any) -> None:
    hub.files.clear()
    with pytest.raises(CommandError, match=r"not be fetched\. Sources tried:\n  - hub so"):
        run("pull", "tiny")
    assert "hub someone/tiny: config.json: there is no such file" in capsys.readouterr().err


def test_the_command_converts(site: ModelStore, tmp_path: Path) -> None:
    write_files(tmp_path / "in", model_files())
    said = run("convert", str(tmp_path / "in"), str(tmp_path / "out"), "--dtype", "bfloat16")
    assert f"{tmp_path}/out holds bfloat16 weights: largest rounding error 0.0" in said
    with pytest.raises(CommandError, match="exists already"):
        run("convert", str(tmp_path / "in"), str(tmp_path / "out"), "--dtype", "bfloat16")
