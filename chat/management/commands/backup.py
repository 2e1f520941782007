"""manage.py backup: the database and the data folder in one file, also while the site runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from chat.backup import BackupError, write_backup


class Command(BaseCommand):
    help = "Save the database and the files of the data folder in one file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a new .tar, or .tar.gz to make it smaller")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            manifest = write_backup(file.absolute())
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        size = sum(member["size"] for member in manifest["members"].values())
        words = _("%(file)s holds %(count)d files, %(size).1f MB. Keep it as safe as the site.")
        told = {"file": file, "count": len(manifest["members"]), "size": size / 1e6}
        self.stdout.write(words % told)
