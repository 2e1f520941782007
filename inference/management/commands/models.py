"""`manage.py models`: fetch, list, describe, remove and convert models."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from inference.errors import EngineError
from inference.management.store import store_from_settings
from inference.model_store import ModelStore
from inference.types import SamplingParams

_MEGABYTE = 1_000_000


class Command(BaseCommand):
    help = "Fetch, list, describe, remove and convert models."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        pull = verbs.add_parser("pull", help="Fetch models that are not here yet.")
        which = pull.add_mutually_exclusive_group(required=True)
        which.add_argument("names", nargs="*", default=[], metavar="NAME")
        which.add_argument(
            "--default", action="store_true", help="The models of a fresh installation."
        )
        verbs.add_parser("list", help="All models, with what is on this disk.")
        for verb, text in (("show", "Everything about one model."), ("rm", "Delete its files.")):
            verbs.add_parser(verb, help=text).add_argument("name", metavar="NAME")
        convert = verbs.add_parser(
            "convert", help="Copy a model (a directory or a GGUF file) in another precision."
        )
        convert.add_argument("source", type=Path, metavar="SRC")
        convert.add_argument("destination", type=Path, metavar="DEST")
        convert.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), required=True)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            if verb == "convert":
                self._convert(options["source"], options["destination"], options["dtype"])
                return
            store = store_from_settings()
            if verb == "pull":
                self._pull(store, options["names"], default=options["default"])
            elif verb == "list":
                self._list(store)
            elif verb == "show":
                self._show(store, options["name"])
            else:
                store.remove(options["name"])
                self.stdout.write(_("%(name)s removed.") % {"name": options["name"]})
        except EngineError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            stopped = _("Stopped. What has arrived is kept: the same command goes on from there.")
            raise CommandError(stopped, returncode=130) from error

    def _pull(self, store: ModelStore, names: Sequence[str], *, default: bool) -> None:
        if default:
            names = [entry.name for entry in store.catalogue.defaults()]
        for name in names:
            store.catalogue.get(name)  # a misspelt name fails before the first download
        for name in names:
            fetched = store.pull(name, TerminalProgress())
            text = _("%(name)s is ready.") if fetched else _("%(name)s is here already.")
            self.stdout.write(text % {"name": name})

    def _list(self, store: ModelStore) -> None:
        rows = [(_("NAME"), _("KIND"), _("LANGUAGES"), _("SIZE"), _("STATE"), _("LICENSE"))]
        rows += [
            (
                info.name,
                str(info.kind),
                ", ".join(info.languages),
                _size(store, info.name),
                info.state,
                info.license,
            )
            for info in store.infos()
        ]
        self._write_columns(rows)

    def _show(self, store: ModelStore, name: str) -> None:
        entry = store.catalogue.get(name)
        state, detail = store.state(name)
        plain = SamplingParams()
        defaults = [
            f"{key} = {value}"
            for key, value in asdict(entry.defaults).items()
            if value != getattr(plain, key)
        ]
        rows = [
            (_("Title"), entry.title),
            (_("Kind"), str(entry.kind)),
            (_("Languages"), ", ".join(entry.languages)),
            (_("License"), entry.license),
            (_("Size"), _size(store, name)),
            (_("Directory"), str(store.directory(name))),
            (_("State"), f"{state}. {detail}" if detail else state),
            (_("Defaults"), ", ".join(defaults) or "-"),
        ]
        sources = store.catalogue.get(entry.weights).sources
        rows += [(_("Source %(n)s") % {"n": n}, str(s)) for n, s in enumerate(sources, start=1)]
        self._write_columns(rows)

    def _convert(self, source: Path, destination: Path, dtype: Any) -> None:
        # Only here: listing models must not wait for torch.
        from inference.conversion import convert
        from inference.precision import ConversionError
        from inference.safetensors_file import DamagedFileError

        try:
            rounding = convert(source, destination, dtype)
        except (ConversionError, DamagedFileError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            _("%(destination)s holds %(dtype)s weights: %(rounding)s.")
            % {"destination": destination, "dtype": dtype, "rounding": rounding}
        )

    def _write_columns(self, rows: Sequence[tuple[str, ...]]) -> None:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


class TerminalProgress:
    """One bar per file on standard error; only the notes where that is no terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    def begin(self, label: str, total: int | None) -> None:
        self._bar = tqdm(
            desc=label,
            total=total,
            unit="B",
            unit_scale=True,
            file=sys.stderr,
            disable=not self.terminal,
            leave=total is None or total > _MEGABYTE,
        )

    def at(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, message: str) -> None:
        tqdm.write(message, file=sys.stderr)


def _size(store: ModelStore, name: str) -> str:
    on_disk = store.size(name)
    if on_disk:
        return f"{on_disk / _MEGABYTE:,.0f} MB"
    return f"~{store.catalogue.get(name).download_mb:,} MB"
