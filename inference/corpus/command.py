"""`corpus` on the command line, with Django's manage.py or with Python alone."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO

from inference.corpus.files import Manifest
from inference.corpus.making import make, versions
from inference.corpus.recipe import SOURCES, CorpusError, Recipe, plan

HELP = "Make the training text of the story model."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--stories", type=int, metavar="N", help="so many stories of each source")
    parser.add_argument("--tokens", type=int, metavar="N", help="about so many tokens of each")
    parser.add_argument(
        "--sources", default="grammar", metavar="A,B", help=f"of {', '.join(SOURCES)}"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same bytes")
    parser.add_argument("--processes", type=int, default=1, help="for the grammar")
    parser.add_argument(
        "--chinese", type=float, default=0.25, metavar="SHARE", help="of the grammar's text"
    )
    parser.add_argument("--teacher", type=Path, metavar="DIR", help="a model that writes stories")
    parser.add_argument("--chat", type=Path, metavar="DIR", help="a model that follows orders")


def run(options: dict[str, Any], out: TextIO = sys.stdout) -> None:
    """Raises CorpusError."""
    recipe = Recipe(options["seed"], options["chinese"])
    sources = [name.strip() for name in options["sources"].split(",") if name.strip()]
    planned = plan(recipe, sources, stories=options["stories"], tokens=options["tokens"])
    if options["processes"] < 1:
        raise CorpusError(f"--processes is {options['processes']}; it must be at least 1.")
    for source in ("teacher", "chat"):
        if source in sources and not options[source]:
            raise CorpusError(f"--sources {source} needs --{source} DIR, a model's folder.")
    manifest = Manifest(options["out"], recipe, versions())
    with Bar(sum(job.count for job in planned)) as bar:
        grammars = [job for job in planned if job.source == "grammar"]
        make(manifest, recipe, grammars, options["processes"], bar.advance)
        for source in ("teacher", "chat"):
            if source in sources:
                from inference.corpus.sampling import sample  # torch: only where it is needed

                jobs = [job for job in planned if job.source == source]
                sample(manifest, recipe, source, options[source], jobs, bar.advance)
    for name, (stories, characters) in manifest.totals().items():
        out.write(f"{name}: {stories:,} stories, {characters:,} characters\n")


class Bar:
    """How far it is, on a terminal; nothing where standard error is a file."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" stories", unit_scale=True, disable=None)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, stories: int) -> None:
        self._bar.update(stories)
