"""`python -m inference.evaluation …`: what `manage.py evaluate` does, without the site."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser

import structlog

from inference.errors import EngineError
from inference.evaluation import cli
from inference.training.errors import TrainingError


def main() -> int:
    # the site's settings do that for manage.py
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    parser = ArgumentParser(prog="python -m inference.evaluation", description=cli.HELP)
    cli.add_arguments(parser)
    try:
        cli.run(vars(parser.parse_args()), lambda text: print(text, flush=True))  # noqa: T201
    except (EngineError, TrainingError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
