"""`manage.py retention`: delete the conversations that were kept long enough, as a running server
does by itself every half a minute."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand
from django.utils import timezone

from chat import audit, live_settings
from chat.privacy.retention import enforce, rules


class Command(BaseCommand):
    help = "Delete sessions whose days are over, as groups and TINYLLM_RETENTION_DAYS say"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many they are")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        live_settings.refresh()
        if not dry_run:
            count = async_to_sync(enforce)(by=audit.NOBODY)
            self.stdout.write(
                f"Deleted {count} sessions. A server that is running removes what it has computed "
                "of them within a minute; `manage.py scrub` takes their bytes out of the files."
            )
            return
        every: set[object] = set()
        for rule in rules(now=timezone.now()):
            due = set(rule.due.values_list("id", flat=True))
            whose = ", ".join(rule.groups) or "everybody in no such group"
            self.stdout.write(f"{rule.days} days ({whose}): {len(due - every)} sessions")
            every |= due
        self.stdout.write(f"{len(every)} sessions would be deleted.")
