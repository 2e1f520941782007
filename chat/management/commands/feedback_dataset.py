"""`manage.py feedback_dataset OUT.jsonl`: rated answers as a file to learn from."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat import audit
from chat.feedback_dataset import FORMATS, Format, examples


class Command(BaseCommand):
    help = "Write rated answers as JSONL to learn from. The texts of conversations are in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("out", type=Path, help="the file; one that is there is not touched")
        parser.add_argument("--format", choices=FORMATS, default="ratings", dest="form")

    def handle(self, *args: Any, out: Path, form: Format, **options: Any) -> None:
        count = 0
        try:
            with out.open("x", encoding="utf-8") as file:
                for row in examples(form):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
        except FileExistsError:
            raise CommandError(f"{out} is there already.") from None
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error}") from None
        audit.record("feedback.export", target=out.name, after={"format": form, "rows": count})
        self.stdout.write(f"{count} examples in {out}.")
