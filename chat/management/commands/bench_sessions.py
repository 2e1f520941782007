"""Measures the list of sessions and the search on a database of its own with many messages."""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from chat import database, engine
from chat.session_benchmark import PER_SESSION, fill, measured


class Command(BaseCommand):
    help = "Time the list of sessions and the search with a million messages (SQLite)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--messages", type=int, default=1_000_000)
        parser.add_argument("--output", type=Path, help="folder for sessions.json")

    def handle(self, *, messages: int, output: Path | None, **options: Any) -> None:
        least = 5000 * PER_SESSION
        if connection.vendor != "sqlite" or messages < least:
            raise CommandError(f"It needs SQLite and --messages of at least {least}.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sessions.sqlite3"
            # The site's own database is not touched: from here on, all of this process's threads
            # open this file.
            connection.close()
            connection.settings_dict["NAME"] = str(path)
            call_command("migrate", verbosity=0)
            fill(messages, self.stdout.write)
            times = measured()
            size = path.stat().st_size
            database.close()
            connection.close()
        report = {
            "machine": engine.machine(),
            "messages": messages,
            "sessions": messages // PER_SESSION,
            "database_mb": round(size / 1e6),
            "times": times,
        }
        text = json.dumps(report, indent=2, ensure_ascii=False)
        self.stdout.write(text)
        if output:
            (output / "sessions.json").write_text(text + "\n")
