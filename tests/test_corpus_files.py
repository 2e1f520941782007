"""The corpus on the disk: its format, its seed, and going on after a kill."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.corpus import command, files, recipe
from inference.corpus.recipe import CorpusError, Recipe, plan

ROOT = Path(__file__).resolve().parent.parent
SMALL: dict[str, Any] = {
    "stories": 120,
    "tokens": None,
    "sources": "grammar",
    "seed": 5,
    "processes": 1,
}
SMALL |= {"chinese": 0.25, "teacher": None, "chat": None}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipe.STORIES_PER_FILE, "grammar", 30)
    monkeypatch.setattr("inference.corpus.making.RESERVED", 10)


def make(folder: Path, **options: Any) -> dict[str, Any]:
    command.run({**SMALL, "out": folder, **options}, StringIO())
    loaded: dict[str, Any] = json.loads((folder / files.MANIFEST).read_text())
    return loaded


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_files_are_as_the_manifest_says(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    assert manifest["recipe"]["seed"] == 5
    assert set(manifest["versions"]) == {"grammar-en", "grammar-zh"}
    names = {path.name for path in tmp_path.glob("*.gz")}
    assert names == set(manifest["files"])
    assert {"grammar-en-train-00000.jsonl.gz", "grammar-zh-heldout-00000.jsonl.gz"} <= names
    seen = set()
    for name, entry in manifest["files"].items():
        assert sha256((tmp_path / name).read_bytes()).hexdigest() == entry["sha256"]
        with gzip.open(tmp_path / name, "rt") as stored:
            lines = [json.loads(line) for line in stored]
        assert len(lines) == entry["stories"]
        assert sum(len(line["text"]) for line in lines) == entry["characters"]
        assert all(line.keys() == {"text", "source", "language", "id"} for line in lines)
        assert {line["language"] for line in lines} <= {entry["language"]}
        seen |= {line["id"] for line in lines}
    train = sum(e["stories"] for e in manifest["files"].values())
    assert len(seen) == train == 120 + 90 // 10 + 30 // 10


def test_held_out_stories_are_chosen_by_their_text(tmp_path: Path) -> None:
    make(tmp_path)
    assert not any(files.is_held_out(story.text) for story in files.stories(tmp_path))
    held = list(files.stories(tmp_path, split="heldout"))
    assert all("-new-" in story.id or files.is_held_out(story.text) for story in held)
    assert any("-new-" in story.id for story in held)


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(tmp_path: Path) -> None:
    make(tmp_path / "one")
    (tmp_path / "one" / "grammar-en-train-00001.jsonl.gz").unlink()
    make(tmp_path / "one")  # one file is missing, and only that one is made
    make(tmp_path / "two", seed=5)
    make(tmp_path / "other", seed=6)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_more_stories_keep_the_whole_files(tmp_path: Path) -> None:
    make(tmp_path, stories=90, chinese=0)
    before = digests(tmp_path)
    make(tmp_path, stories=150, chinese=0)
    after = digests(tmp_path)
    assert {n: d for n, d in before.items() if n in after and n != files.MANIFEST}.items() <= (
        after.items()
    )


def run_command(folder: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "inference.corpus", "--out", str(folder), "--seed", "2"]
    line += ["--stories", "30000", "--chinese", "0", "--processes", "2"]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A folder in which a run was killed after it had listed its first file."""
    folder = tmp_path / "killed"
    run = run_command(folder)
    while not (folder / files.MANIFEST).exists():
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.02)
    for process in (*children(run.pid), run.pid):
        os.kill(process, signal.SIGKILL)
    run.communicate()
    return folder


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.soak
def test_a_killed_run_goes_on_and_ends_byte_for_byte_the_same(killed: Path, tmp_path: Path) -> None:
    assert len(list(killed.glob("*-train-*.gz"))) < 3, "it was killed too late to prove anything"
    for folder in (killed, tmp_path / "whole"):
        run = run_command(folder)
        assert run.wait() == 0
        assert run.stderr is not None
        run.stderr.close()
    assert digests(killed) == digests(tmp_path / "whole")


def test_a_half_written_file_does_not_count(tmp_path: Path) -> None:
    make(tmp_path / "whole")
    make(tmp_path / "half")
    broken = tmp_path / "half" / "grammar-en-train-00002.jsonl.gz"
    broken.write_bytes(broken.read_bytes()[:100])
    (tmp_path / "half" / "grammar-en-train-00001.jsonl.gz.part").write_bytes(b"half")
    make(tmp_path / "half")
    left = tmp_path / "half" / "grammar-en-train-00001.jsonl.gz.part"
    left.unlink()
    assert digests(tmp_path / "half") == digests(tmp_path / "whole")


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(CorpusError, match="seed 5, not 6"):
        make(tmp_path, seed=6)


def test_a_full_disk_is_told_and_leaves_a_corpus_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if "00001" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CorpusError, match="is full"):
        make(tmp_path / "full")
    monkeypatch.setattr(Path, "replace", real)
    make(tmp_path / "full")
    make(tmp_path / "whole")
    for part in (tmp_path / "full").glob("*.part"):
        part.unlink()
    assert digests(tmp_path / "full") == digests(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stories": None}, "--stories N or --tokens N"),
        ({"stories": 0}, "at least 1"),
        ({"sources": "granmar"}, "there are grammar, teacher, chat"),
        ({"sources": "teacher"}, "needs --teacher DIR"),
        ({"processes": 0}, "--processes is 0"),
        ({"chinese": 2.0}, "--chinese is 2.0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(CorpusError) as error:
        make(tmp_path, **options)
    assert words in str(error.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="cannot be written"):
        make(tmp_path / "file" / "corpus")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / files.MANIFEST).write_text("{")
    with pytest.raises(CorpusError, match="damaged"):
        make(tmp_path)


def test_tokens_become_stories() -> None:
    jobs = plan(Recipe(1, 0.25), ["grammar"], stories=None, tokens=1_000_000)
    english = sum(job.count for job in jobs if job.language == "en")
    expected = 750_000 * recipe.CHARACTERS_PER_TOKEN["en"] / recipe.CHARACTERS_PER_STORY["en"]
    assert english == pytest.approx(expected, abs=1)


def test_the_command_works_without_the_database(tmp_path: Path) -> None:
    call_command("corpus", out=tmp_path, stories=20)
    assert (tmp_path / files.MANIFEST).exists()
    with pytest.raises(CommandError, match="at least 1"):
        call_command("corpus", out=tmp_path, stories=-1)


def test_the_package_needs_neither_django_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom inference.corpus import command, filters, duplicates\n"
        "print(*{'django', 'torch', 'numpy', 'tokenizers'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split() == [], run.stderr
