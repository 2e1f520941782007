"""manage.py move_database: everything from the SQLite file into an empty PostgreSQL database."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from chat import process_mark
from chat.moving import Moved, MoveError, move_rows
from tinyllm_site import env

TARGET = "move_target"


class Command(BaseCommand):
    help = "Copy everything into an empty database, and check that it is all there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="such as postgres://user:password@host:5432/name")

    def handle(self, *args: Any, url: str, **options: Any) -> None:
        if process_mark.alive():
            raise CommandError(_("The site is running. Stop it first, so that nothing is missed."))
        _refuse_unmigrated()
        _connect(url)
        try:
            call_command("migrate", database=TARGET, verbosity=0)
            move_rows("default", TARGET, self._tell)
        except (MoveError, DatabaseError) as error:
            raise CommandError(str(error)) from error
        finally:
            connections[TARGET].close()
            del connections[TARGET], connections.databases[TARGET]
        self.stdout.write(_("All of it is there, and the same. Set DATABASE_URL to the new one."))

    def _tell(self, moved: Moved) -> None:
        if moved.rows:
            self.stdout.write(f"{moved.rows:>12,}  {moved.model}  {moved.checksum[:12]}")


def _connect(url: str) -> None:
    """Raises CommandError."""
    try:
        described = env.database_at(url)
    except Exception as error:
        raise CommandError(
            _("This is not a database's address: %(reason)s") % {"reason": error}
        ) from None
    if described["ENGINE"] == connections.databases["default"]["ENGINE"]:
        raise CommandError(_("Both databases are of the same kind: use backup and restore."))
    connections.databases[TARGET] = {**connections.databases["default"], "OPTIONS": {}, **described}
    try:
        connections[TARGET].ensure_connection()
    except DatabaseError as error:
        reason = str(error).strip()
        raise CommandError(
            _("The other database does not answer: %(reason)s") % {"reason": reason}
        ) from None


def _refuse_unmigrated() -> None:
    executor = MigrationExecutor(connections["default"])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError(_("The database is not up to date. Run: manage.py migrate"))
