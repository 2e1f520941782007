"""A backup put back in place of what is here. Nothing is touched before all of it has been checked;
what was here is kept in a folder beside it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import process_mark
from chat.backup import (
    ASIDE,
    DATABASE,
    FILES,
    FORMAT,
    MANIFEST,
    VERSION,
    BackupError,
    HashingReader,
    check_integrity,
    data_files,
    database_file,
)


def read_backup(source: Path) -> Path:
    """Put the backup in place. Returns the folder that what was here is kept in. Raises
    BackupError, OSError; then everything is as it was."""
    root = Path(settings.TINYLLM_DATA_DIR)
    _refuse_beside_server()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".restore-") as folder:
        fresh = Path(folder)
        manifest = _unpack(source, fresh)
        _check_migrations(manifest)
        with closing(sqlite3.connect(fresh / DATABASE)) as database:
            check_integrity(database)
        _refuse_beside_server()
        connections.close_all()
        return _put_in_place(root, fresh)


def _refuse_beside_server() -> None:
    if process_mark.alive():
        raise BackupError(_("The site is running. Stop it first: a backup takes its place."))


def _unpack(source: Path, folder: Path) -> dict[str, Any]:
    """Every member checked against the manifest. Raises BackupError."""
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                _check_member(member)
                file = tar.extractfile(member)
                assert file is not None
                if member.name == MANIFEST:
                    manifest = json.loads(file.read())
                    continue
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                reader = HashingReader(file)
                with path.open("xb") as target:
                    path.chmod(member.mode & 0o700)
                    reader.copy_to(target)
                found[member.name] = {"size": member.size, "sha256": reader.digest.hexdigest()}
    except (tarfile.TarError, EOFError, ValueError, FileExistsError) as error:
        raise BackupError(
            _("%(file)s is no whole backup: %(reason)s") % {"file": source, "reason": error}
        ) from error
    if manifest is None or manifest.get("format") != FORMAT or DATABASE not in found:
        raise BackupError(_("%(file)s is no backup of a site.") % {"file": source})
    if manifest["version"] > VERSION:
        raise BackupError(_("%(file)s was made by a newer version.") % {"file": source})
    wrong = sorted(
        name
        for name in {*found, *manifest["members"]}
        if found.get(name) != manifest["members"].get(name)
    )
    if wrong:
        raise BackupError(
            _("%(file)s is damaged: %(name)s is not what was saved.")
            % {"file": source, "name": ", ".join(wrong[:3])}
        )
    return manifest


def _check_member(member: tarfile.TarInfo) -> None:
    """Only what `write_backup` writes. Raises BackupError."""
    path = PurePosixPath(member.name)
    is_known = member.name in (DATABASE, MANIFEST) or member.name.startswith(FILES)
    if not (member.isreg() and is_known and ".." not in path.parts and not path.is_absolute()):
        raise BackupError(
            _("%(name)s does not belong into a backup.") % {"name": repr(member.name[:100])}
        )


def _check_migrations(manifest: dict[str, Any]) -> None:
    """An older database is brought up to date by `migrate`; a newer one is not understood."""
    known = MigrationLoader(None).disk_migrations
    newer = [f"{app}.{name}" for app, name in manifest["migrations"] if (app, name) not in known]
    if newer:
        raise BackupError(
            _("The backup is of a newer version: this one does not know %(names)s.")
            % {"names": ", ".join(newer[:3])}
        )


def _put_in_place(root: Path, fresh: Path) -> Path:
    """By renaming; where one fails, those that were done are taken back."""
    aside = root / f"{ASIDE}{timezone.now():%Y%m%d-%H%M%S-%f}"
    database = database_file()
    moves = [(root / path, aside / "files" / path) for path in data_files()]
    beside = sorted(database.parent.glob(f"{database.name}*"))
    moves += [(path, aside / path.name) for path in beside if path.is_file()]
    files = fresh / FILES.rstrip("/")
    fresh_files = [path for path in sorted(files.rglob("*")) if path.is_file()]
    moves += [(path, root / path.relative_to(files)) for path in fresh_files]
    moves.append((fresh / DATABASE, database))
    done: list[tuple[Path, Path]] = []
    aside.mkdir()
    try:
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            shutil.move(target, source)
        raise
    return aside
