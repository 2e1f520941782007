"""A whole site in one file: its database as it was at one moment, and the files of its data folder.

The file is a tar with a manifest at its end, which names every other member with its size and
sha256. What can be computed again (caches, compiled kernels) is left out. The key that signs
cookies is in it: whoever has a backup has the site.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django.utils.translation import gettext as _

FORMAT, VERSION = "tinyllm.backup", 1
DATABASE = "database.sqlite3"
MANIFEST = "manifest.json"
FILES = "files/"
DERIVED = ("kv", "kernels", "processes", "listening.json", "product_rows.json")
"""Of the data folder: made anew where it is missing, or of a process that runs."""
ASIDE = "before-restore-"
_CHUNK = 1 << 20


class BackupError(Exception):
    """Why not, in words."""


def write_backup(target: Path) -> dict[str, Any]:
    """Also while the site runs. Returns the manifest. The file appears whole or not at all, and
    only its owner may read it. Raises BackupError, OSError."""
    _check_database()
    if target.is_relative_to(Path(settings.TINYLLM_DATA_DIR)):
        raise BackupError(_("Name a file outside of the data folder, which is what is saved."))
    if target.exists():
        raise BackupError(_("%(file)s exists already: name another file.") % {"file": target})
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        made, snapshot = Path(folder) / "backup", Path(folder) / DATABASE
        _snapshot(snapshot)
        with made.open("wb") as file:
            made.chmod(0o600)
            mode = "w:gz" if target.suffix in (".gz", ".tgz") else "w"
            with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
                manifest = _fill(tar, snapshot)
            file.flush()
            os.fsync(file.fileno())
        os.link(made, target)  # unlike a rename it never takes another file's place
    return manifest


def database_file() -> Path:
    """Raises BackupError where the database is no file."""
    _check_database()
    return Path(str(connection.settings_dict["NAME"]))


def data_files() -> Iterator[Path]:
    """What is saved of the data folder, relative to it."""
    root, database = Path(settings.TINYLLM_DATA_DIR), database_file().resolve()
    for top in sorted(root.iterdir()):
        if top.name in DERIVED or top.name.startswith((ASIDE, ".")):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            own = path.resolve()
            is_database = own.parent == database.parent and own.name.startswith(database.name)
            if path.is_file() and not path.is_symlink() and not is_database:
                yield path.relative_to(root)


def _check_database() -> None:
    if connection.vendor != "sqlite":
        raise BackupError(
            _("The database is %(vendor)s, not SQLite: save it with its own tools (pg_dump).")
            % {"vendor": connection.vendor}
        )


def _snapshot(target: Path) -> None:
    """SQLite's own online backup: one moment of the database, while others go on to write. By a
    connection of its own: one that is in a transaction would wait for itself."""
    with closing(sqlite3.connect(database_file())) as own, closing(sqlite3.connect(target)) as copy:
        own.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        check_integrity(copy)
    target.chmod(0o600)


def check_integrity(database: sqlite3.Connection) -> None:
    """Raises BackupError."""
    try:
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise BackupError(_("The database is damaged: %(reason)s") % {"reason": said})


def _fill(tar: tarfile.TarFile, snapshot: Path) -> dict[str, Any]:
    root = Path(settings.TINYLLM_DATA_DIR)
    members = {DATABASE: _add(tar, snapshot, DATABASE)}
    for path in data_files():
        members[FILES + path.as_posix()] = _add(tar, root / path, FILES + path.as_posix())
    applied = sorted(MigrationRecorder(connection).applied_migrations())
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "made_at": timezone.now().isoformat(),
        "migrations": [list(key) for key in applied],
        "members": members,
    }
    written = json.dumps(manifest, indent=1).encode()
    about = tarfile.TarInfo(MANIFEST)
    about.size, about.mode = len(written), 0o600
    tar.addfile(about, io.BytesIO(written))
    return manifest


def _add(tar: tarfile.TarFile, path: Path, name: str) -> dict[str, Any]:
    """Size and sha256 of what was written, which is what the file was when it was opened."""
    with path.open("rb") as file:
        about = tar.gettarinfo(arcname=name, fileobj=file)
        reader = HashingReader(file)
        tar.addfile(about, reader)
    return {"size": about.size, "sha256": reader.digest.hexdigest()}


class HashingReader:
    """A file that is read once, with the digest of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece

    def copy_to(self, target: IO[bytes]) -> None:
        while piece := self.read(_CHUNK):
            target.write(piece)
