"""manage.py evaluate: how good a story model is, beside others."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference.errors import EngineError
from inference.evaluation import cli
from inference.training.errors import TrainingError


class Command(BaseCommand):
    help = cli.HELP
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cli.run(options, self.stdout.write)
        except (EngineError, TrainingError) as error:
            raise CommandError(str(error)) from error
