"""`manage.py erase_user NAME`: an account and all that it ever said, gone for good."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from chat.privacy.erasure import erase_person


class Command(BaseCommand):
    help = "Erase a person: account, sessions, messages, and what was computed of them. No way back"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the account's name")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, name: str, yes: bool, **options: Any) -> None:
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no account called {name!r}.")
        count = user.sessions.count()
        if not yes and input(f"Erase {name} and {count} sessions? Type the name again: ") != name:
            raise CommandError("Nothing was erased.")
        erased = async_to_sync(erase_person)(user_id=user.pk)
        self.stdout.write(
            f"Erased {name}: {erased.sessions} sessions, {erased.messages} messages. A server that "
            "is running removes what it has computed of them within a minute."
        )
        if not erased.is_scrubbed:
            raise CommandError(
                "Bytes of the deleted rows may still be in the database's files, since somebody "
                "was reading all the time. Run `manage.py scrub` when it is quiet."
            )
