"""manage.py restore: a backup in place of what is here, while no server runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from chat.backup import BackupError
from chat.restore import read_backup


class Command(BaseCommand):
    help = "Put a backup in place of the database and the data folder; what was there is kept."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="made by manage.py backup")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            aside = read_backup(file.absolute())
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_("What was here is in %(folder)s.") % {"folder": aside})
        self.stdout.write(_("Run manage.py migrate before you start the site."))
