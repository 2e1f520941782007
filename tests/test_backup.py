"""A site saved while it runs and put back in place; and backups that are not whole are refused."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat import restore
from chat.backup import DATABASE, MANIFEST, BackupError, write_backup
from tests.server_process import ServerProcess

pytestmark = pytest.mark.fake_engine

TITLES = "select title from chat_session order by title"


def say(server: ServerProcess, text: str) -> None:
    answer = httpx.post(f"{server.url}/api/chat", json={"input": text}, timeout=60)
    assert answer.status_code == 200


def test_a_running_site_is_saved_and_put_back(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "site.tar.gz"
    (data / "saved" / "deep").mkdir(parents=True)
    (data / "saved" / "deep" / "picture.bin").write_bytes(b"\0\1" * 5000)
    (data / "kv").mkdir()
    (data / "kv" / "computed").write_text("again")
    server = ServerProcess(data).migrate().start()
    say(server, "Before")
    done = server.manage("backup", str(file))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    say(server, "After")
    (data / "saved" / "deep" / "picture.bin").write_text("changed")
    (data / "saved" / "new").write_text("new")
    refused = server.manage("restore", str(file))
    assert (refused.returncode, "The site is running" in refused.stderr) == (1, True)
    assert server.end() == 0
    assert server.rows(TITLES) == [("After",), ("Before",)]
    key = (data / "secret_key").read_text()
    restored = server.manage("restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert server.rows(TITLES) == [("Before",)]
    assert (data / "saved" / "deep" / "picture.bin").read_bytes() == b"\0\1" * 5000
    assert not (data / "saved" / "new").exists()
    assert (data / "secret_key").read_text() == key
    assert stat.S_IMODE((data / "secret_key").stat().st_mode) == 0o600
    (aside,) = data.glob("before-restore-*")
    assert ServerProcess(aside).rows(TITLES) == [("After",), ("Before",)]
    assert (aside / "files" / "saved" / "new").read_text() == "new"
    assert list(data.glob(".restore-*")) == []
    server.start()
    say(server, "Later")
    assert server.end() == 0
    assert server.rows(TITLES) == [("Before",), ("Later",)]
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names[0] == DATABASE
    assert names[-1] == MANIFEST
    assert "files/saved/deep/picture.bin" in names
    assert not [name for name in names if "kv" in name or "processes" in name]


@pytest.fixture
def backup(db: None, tmp_path: Path, settings: Any) -> Path:
    settings.TINYLLM_DATA_DIR = tmp_path / "data"
    settings.TINYLLM_DATA_DIR.mkdir()
    (settings.TINYLLM_DATA_DIR / "secret_key").write_text("secret")
    file: Path = tmp_path / "site.tar"
    write_backup(file)
    return file


def test_no_file_is_overwritten_and_none_is_made_where_it_would_be_saved(
    backup: Path, settings: Any
) -> None:
    for file, said in (
        (backup, "exists already"),
        (settings.TINYLLM_DATA_DIR / "x.tar", "outside of the data folder"),
    ):
        with pytest.raises(BackupError, match=said):
            write_backup(file)
    assert list(settings.TINYLLM_DATA_DIR.glob("*.tar")) == []


def rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """The backup with each member changed, or left out."""
    other = file.with_name("changed.tar")
    with tarfile.open(file) as old, tarfile.open(other, "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            changed = change(member.name, content.read())
            if changed:
                about = tarfile.TarInfo(changed[0])
                about.size = len(changed[1])
                new.addfile(about, io.BytesIO(changed[1]))
    return other


def manifest_with(**fields: Any) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name == MANIFEST:
            content = json.dumps(json.loads(content) | fields).encode()
        return name, content

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, content: (name, content.replace(b"secret", b"Secret")), "secret_key is not"),
        (lambda name, content: None if name.startswith("files") else (name, content), "secret_key"),
        (lambda name, content: None if name == MANIFEST else (name, content), "is no backup"),
        (lambda name, content: None if name == DATABASE else (name, content), "is no backup"),
        (lambda name, content: (name.replace("files/", "files/../"), content), "does not belong"),
        (lambda name, content: (name.replace("files/", "/etc/"), content), "does not belong"),
        (lambda name, content: (name.replace("files/", "other/"), content), "does not belong"),
        (manifest_with(format="something"), "is no backup"),
        (manifest_with(version=2), "newer version"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused(
    backup: Path, tmp_path: Path, change: Any, said: str
) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    with pytest.raises(BackupError, match=said):
        restore._unpack(rewritten(backup, change), folder)


def test_a_file_that_is_cut_or_no_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    for number, content in enumerate((whole[:5000], b"", b"something else" * 1000)):
        folder = tmp_path / f"fresh{number}"
        folder.mkdir()
        backup.write_bytes(content)
        with pytest.raises(BackupError, match=r"site\.tar is (no|damaged)"):
            restore._unpack(backup, folder)


def test_a_backup_of_a_newer_version_is_refused_and_an_older_one_is_not(
    backup: Path, tmp_path: Path
) -> None:
    manifest = restore._unpack(backup, tmp_path)
    restore._check_migrations(manifest)
    restore._check_migrations(manifest | {"migrations": manifest["migrations"][:-1]})
    newer = [*manifest["migrations"], ["chat", "9999_future"]]
    with pytest.raises(BackupError, match=r"chat\.9999_future"):
        restore._check_migrations(manifest | {"migrations": newer})


def test_what_cannot_be_put_in_place_leaves_all_as_it_was(
    backup: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root: Path = settings.TINYLLM_DATA_DIR
    (root / "db.sqlite3").write_text("old")
    for module in ("backup", "restore"):
        monkeypatch.setattr(f"chat.{module}.database_file", lambda: root / "db.sqlite3")
    fresh = tmp_path / "fresh"
    (fresh / "files").mkdir(parents=True)
    (fresh / "files" / "secret_key").write_text("new")  # and no database: the last move fails
    with pytest.raises(OSError, match=DATABASE):
        restore._put_in_place(root, fresh)
    assert (root / "db.sqlite3").read_text() == "old"
    assert (root / "secret_key").read_text() == "secret"
    assert (fresh / "files" / "secret_key").read_text() == "new"
