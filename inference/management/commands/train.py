"""manage.py train: a model of one's own, from texts or conversations."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference.training import cli
from inference.training.errors import TrainingError


class Command(BaseCommand):
    help = cli.HELP
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cli.run(options, self.stdout.write)
        except TrainingError as error:
            raise CommandError(str(error)) from error
