"""`manage.py scrub`: no bytes of deleted rows are left in the database's files."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat.privacy.scrubbing import scrub


class Command(BaseCommand):
    help = "Rewrite the database so that nothing of deleted rows is left in its files"

    def handle(self, *args: Any, **options: Any) -> None:
        if not scrub():
            raise CommandError("Somebody was reading all the time: stop the server, or try again.")
        self.stdout.write("Nothing of deleted rows is left.")
