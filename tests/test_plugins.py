"""Plugins by entry points: the example project, one that is broken, and who may be loaded when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from chat import filtering
from inference import plugins, sampler
from inference.catalogue import Catalogue, CatalogueError, PluginSource
from inference.downloads import Silent
from inference.errors import InvalidParameter, UnsupportedArchitecture
from inference.http_client import HubSettings, SourceError
from inference.options import EngineOptions
from inference.sources import fill
from inference.types import SamplingParams
from tests.plugin_projects import EXAMPLE, install, install_example
from tests.server_process import ROOT
from tests.tiny_engine import TinyEngine
from tests.tiny_llama import write_tiny_llama


def broken(folder: Path) -> Path:
    (folder / "broken_module.py").write_text("raise RuntimeError('it never worked')\n")
    (folder / "seven.py").write_text("def draw(logits, params, **rest): return 7\n")
    points = {
        plugins.SAMPLERS: {"seven": "seven:draw", "broken": "broken_module:draw"},
        plugins.ARCHITECTURES: {"BrokenForCausalLM": "broken_module:build"},
        "tinyllm.filters": {"broken": "broken_module:Filter"},
    }
    return install(folder, {"name": "not-good", "version": "0.1", "entry-points": points})


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (EXAMPLE, install_example(tmp_path / "site")):
        monkeypatch.syspath_prepend(str(path))


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bad").mkdir()
    folder = broken(tmp_path / "bad")
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def chosen(settings: Any) -> Any:
    def choose(*names: str) -> None:
        settings.TINYLLM_FILTERS = list(names)
        filtering.filters.cache_clear()

    yield choose
    filtering.filters.cache_clear()


def tiny(folder: Path, architecture: str) -> Path:
    directory = write_tiny_llama(folder / architecture, context=128)
    config = json.loads((directory / "config.json").read_text())
    config["architectures"] = [architecture]
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_a_filter(example: None, chosen: Any) -> None:
    chosen("spoilers")
    assert filtering.incoming("The end: ||it was a dream||!") == "The end: [spoiler]!"
    (made,) = filtering.filters()
    assert [made.undecided(text) for text in ("a", "a|", "a||it was", "a||b|", "a||b||")] == [
        0, 1, 8, 4, 0,
    ]  # fmt: skip


def test_a_filter_that_is_broken_or_unknown_is_named(bad: Path, chosen: Any) -> None:
    chosen("broken")
    with pytest.raises(ImproperlyConfigured, match=r"broken \(tinyllm\.filters of not-good 0\.1\)"):
        filtering.filters()
    chosen("brokn")
    with pytest.raises(ImproperlyConfigured, match="words, personal, broken"):
        filtering.filters()


def test_a_sampler_draws_every_token(bad: Path, tmp_path: Path) -> None:
    engine = TinyEngine(tiny(tmp_path, "LlamaForCausalLM"), sampler="seven")
    assert set(engine.answer("Once", SamplingParams(max_tokens=5, ignore_eos=True)).token_ids) == {
        7
    }


def test_locally_typical_sampling(example: None) -> None:
    sample = plugins.load(plugins.SAMPLERS, "typical")
    # one token likelier than all others together surprises less than is to be expected
    chances = np.array([0.5, *[0.05] * 10])
    logits = np.log(chances).astype(np.float32)
    params = SamplingParams(temperature=1.0)

    def drawn(params: SamplingParams) -> list[int]:
        return [sample(logits, params, prompt=[1], output=[], seed=seed) for seed in range(200)]

    taken = drawn(params)
    assert taken == drawn(params)
    assert 60 < taken.count(0) < 140
    assert len(set(taken)) < len(chances)
    cold = drawn(replace(params, temperature=0))
    assert set(cold) == {int(logits.argmax())}
    ours = sampler.sample(logits, replace(params, temperature=0), prompt=[1], output=[], seed=0)
    assert cold[0] == ours


def test_a_sampler_is_for_the_cpu() -> None:
    with pytest.raises(InvalidParameter, match="sampler"):
        EngineOptions(device="cuda", sampler="typical")


def test_an_architecture_is_loaded_where_it_is_named(example: None, tmp_path: Path) -> None:
    ours = tiny(tmp_path, "LlamaForCausalLM")
    its = tiny(tmp_path, "ExampleForCausalLM")
    with pytest.raises(UnsupportedArchitecture, match="TINYLLM_PLUGINS"):
        TinyEngine(its)
    assert "tinyllm_example.architecture" not in sys.modules
    engine = TinyEngine(its, plugins=("ExampleForCausalLM",))
    assert engine.answer("Once").token_ids == TinyEngine(ours).answer("Once").token_ids


def test_what_nobody_installed_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedArchitecture, match="ExampleForCausalLM"):
        TinyEngine(tiny(tmp_path, "ExampleForCausalLM"), plugins=("ExampleForCausalLM",))


def test_a_broken_architecture_and_sampler_are_named(bad: Path, tmp_path: Path) -> None:
    named = r"\(tinyllm\.\w+ of not-good 0\.1\) cannot be loaded: RuntimeError: it never worked"
    with pytest.raises(plugins.PluginFailed, match=f"BrokenForCausalLM {named}"):
        TinyEngine(tiny(tmp_path, "BrokenForCausalLM"), plugins=("BrokenForCausalLM",))
    ours = tiny(tmp_path, "LlamaForCausalLM")
    with pytest.raises(plugins.PluginFailed, match=f"broken {named}"):
        TinyEngine(ours, sampler="broken")
    with pytest.raises(plugins.PluginFailed, match=r"'sevn'.*Installed: broken, seven"):
        TinyEngine(ours, sampler="sevn")


CATALOGUE = """
[fox]
title = "Fox"
kind = "chat"
languages = ["en"]
license = "MIT"
download_mb = 1
[[fox.sources]]
type = "folder"
path = "{path}"
"""


def test_a_source_of_models(example: None, tmp_path: Path) -> None:
    directory = tiny(tmp_path, "LlamaForCausalLM")
    (tmp_path / "catalogue.toml").write_text(CATALOGUE.format(path=directory))
    (source,) = Catalogue.load(tmp_path / "catalogue.toml").get("fox").sources
    assert source == PluginSource("folder", {"path": str(directory)})
    assert str(source) == f"folder {directory}"
    build = tmp_path / "build"
    build.mkdir()
    its: Any = {"parts": tmp_path, "build": build, "dtype": None, "hub": HubSettings()}
    fill(source, **its, progress=Silent())
    for name in ("config.json", "model.safetensors"):
        assert (build / name).read_bytes() == (directory / name).read_bytes()
    for fields in ({"path": "/nowhere"}, {"place": "/nowhere"}):
        with pytest.raises(SourceError, match=r"nowhere|place"):
            fill(PluginSource("folder", fields), **its, progress=Silent())


def test_a_source_that_nobody_installed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(CATALOGUE.format(path="x"))
    with pytest.raises(CatalogueError, match="'folder'"):
        Catalogue.load(tmp_path / "catalogue.toml")


def test_doctor_and_check_tell_of_them(example: None, bad: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (EXAMPLE, tmp_path / "site", bad))),
        "TINYLLM_DATA_DIR": str(tmp_path),
        "TINYLLM_FILTERS": "spoilers",
        "TINYLLM_SAMPLER": "broken",
        "TINYLLM_TOOLS": "letters",
        "TINYLLM_DEVICE": "cpu",
    }

    def manage(verb: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", verb], cwd=ROOT, env=environment | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    told = manage("doctor").stdout
    assert "Plugin spoilers (tinyllm.filters of tinyllm-example 1.0): in use" in told
    assert "Plugin letters (tinyllm.tools of tinyllm-example 1.0): in use" in told
    assert "Plugin typical (tinyllm.samplers of tinyllm-example 1.0): not named" in told
    assert "RuntimeError: it never worked" in told
    refused = manage("check", TINYLLM_FILTERS="broken", TINYLLM_TOOLS="leters")
    assert refused.returncode == 1
    assert "The plugin broken (tinyllm.filters of not-good 0.1) cannot be loaded" in refused.stderr
    assert "'leters', which no installed project has in the group tinyllm.tools" in refused.stderr
