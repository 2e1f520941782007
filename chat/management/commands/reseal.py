"""`manage.py reseal`: after SECRET_KEY has changed, before the old one leaves
SECRET_KEY_FALLBACKS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat.accounts.sealing import SealUnreadable, reseal


class Command(BaseCommand):
    help = "Encrypt all second factors with the present SECRET_KEY"

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = reseal()
        except SealUnreadable:
            raise CommandError(
                "A second factor was encrypted with a key that is neither SECRET_KEY nor in "
                "SECRET_KEY_FALLBACKS. Nothing was changed: add that key."
            ) from None
        self.stdout.write(f"Encrypted {count} second factors with the present key.")
