"""`python -m inference.corpus`: the command without Django."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from inference.corpus.command import HELP, add_arguments, run
from inference.corpus.recipe import CorpusError


def main() -> int:
    parser = ArgumentParser(prog="python -m inference.corpus", description=HELP)
    add_arguments(parser)
    try:
        run(vars(parser.parse_args()))
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Whole files are kept: the same command goes on from there.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
