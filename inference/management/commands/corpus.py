"""manage.py corpus: the training text of the story model."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference.corpus.command import HELP, add_arguments, run
from inference.corpus.recipe import CorpusError


class Command(BaseCommand):
    help = HELP
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(options)
        except CorpusError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            stopped = "Stopped. Whole files are kept: the same command goes on from there."
            raise CommandError(stopped, returncode=130) from error
