"""Every program of docs/examples runs as its first lines say, and says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess
from tests.tiny_llama import write_tiny_llama
from tests.tiny_sentences import write_sentence_model

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
# Of programs that talk to a running site, what they print last.
SITE = {
    "client_stream.py": r"You said: Name three rivers\.\n\[DONE: 29 tokens, seed 7\]\n"
    r"You said: And one more\.\nkept: \['user', 'assistant', 'user', 'assistant'\]$",
    "client_async.py": r"- You said: What is a sea\?\nmodel_not_found: There is no model .*$",
    "embeddings.py": r"^How hot .*\(tiny-sentences, 32 numbers\)\n(?: *-?\d\.\d{3}  .*\n?){4}$",
    "websocket_by_hand.py": r"You said: Name three rivers\.\n\[DONE, 29 tokens, event \d+\]$",
}
# Of those that compute by themselves, on a tiny model: its words mean nothing.
OFFLINE = {
    "batch.py": r"(?:^[\w ]+ ….* \(16 tokens\)\n?){4}$",
    "django_view.py": r"\S",
    "load_and_generate.py": r"\[length: 20 tokens in \d+\.\d\d s\]$",
    "own_kernel.py": r"^error \d\.\de-\d\d \(torch .*ms$",
    "own_sampler.py": r"^Once upon a time.",
    "structured_output.py": r"^\{'name': .*, 'people': \d+, 'coast': (True|False)\}$",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    write_sentence_model(folder / "tiny-sentences")
    server = ServerProcess(folder, TINYLLM_MODELS_DIR=str(folder)).migrate().start()
    yield server.url
    server.end()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_llama(tmp_path_factory.mktemp("tiny") / "chat", context=512))


def output_of(name: str, argument: str, tmp_path: Path) -> str:
    # As if it were installed, under its own name.
    (tmp_path / "tinyllm_client").symlink_to(ROOT / "chat" / "client")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / name), argument],
        cwd=ROOT,
        env={k: v for k, v in environment.items() if k != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.rstrip("\n")


@pytest.mark.fake_engine
@pytest.mark.parametrize("name", SITE)
def test_a_program_talks_to_a_site(name: str, site: str, tmp_path: Path) -> None:
    assert re.search(SITE[name], output_of(name, site, tmp_path))


@pytest.mark.real_engine
@pytest.mark.parametrize("name", OFFLINE)
def test_a_program_computes_by_itself(name: str, tiny: str, tmp_path: Path) -> None:
    said = output_of(name, tiny, tmp_path)
    assert re.search(OFFLINE[name], said, re.MULTILINE), said


def test_every_example_runs_here_and_is_short() -> None:
    found = sorted(EXAMPLES.glob("*.py"))
    assert {path.name for path in found} >= {*SITE, *OFFLINE}
    assert all(len(path.read_text().splitlines()) <= 65 for path in found)
    told = (ROOT / "docs/api.md").read_text()
    assert all(f"examples/{name}" in told for name in {*SITE, *OFFLINE})
