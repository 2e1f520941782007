"""`python -m inference.training …`: what `manage.py train` does, without the site."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from inference.training import cli
from inference.training.errors import TrainingError


def main() -> int:
    parser = ArgumentParser(prog="python -m inference.training", description=cli.HELP)
    cli.add_arguments(parser)
    try:
        cli.run(vars(parser.parse_args()), lambda text: print(text, flush=True))  # noqa: T201
    except TrainingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
