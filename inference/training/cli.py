"""The words of `manage.py train` and of `python -m inference.training`, and what they do."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.training.errors import TrainingError
from inference.training.recipe import Recipe, load_recipe
from inference.training.sizes import sizes

Say = Callable[[str], None]
CACHE = Path("var/tokens")
HELP = (
    "tokenizer: learn one from texts. shards: texts as token files that can travel. run: train a "
    "model, or go on with it. sweep: several sizes, one after another. lora: fine-tune a model on "
    "rated answers. Under torchrun a run takes all GPUs."
)


def add_arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)
    tokenizer = verbs.add_parser("tokenizer", help="Learn a tokenizer from texts.")
    tokenizer.add_argument("--vocab", type=int, default=Recipe().vocab)
    shards = verbs.add_parser("shards", help="Write texts as token shards.")
    shards.add_argument("--tokenizer", type=Path, required=True, help="its folder")
    shards.add_argument(
        "--cut", type=float, default=0.0, metavar="SHARE", help="of words, encoded in two parts"
    )
    run = verbs.add_parser("run", help="Train a model, or go on with what was begun.")
    sweep = verbs.add_parser("sweep", help="Train several sizes with one recipe.")
    sweep.add_argument("--sizes", nargs="+", default=["1m", "3m", "8m"], choices=sizes())
    for verb in (tokenizer, shards, run, sweep):
        verb.add_argument(
            "data", type=Path, nargs="+", help="folders of the corpus or of token shards, or files"
        )
    for verb in (run, sweep):
        verb.add_argument("--tokenizer", type=Path, help="its folder; default: the data's, or new")
    lora = verbs.add_parser("lora", help="Fine-tune a model on rated answers.")
    lora.add_argument("ratings", type=Path, help='JSONL: {"prompt", "answer", "rating"}')
    lora.add_argument("--model", type=Path, required=True, help="the folder of the model")
    lora.add_argument("--at-least", type=float, default=1.0, help="the lowest rating to learn")
    for verb, recipe in ((run, "story"), (sweep, "story"), (lora, "lora")):
        verb.add_argument("--recipe", default=recipe, help="a name, or a TOML file")
        verb.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="FIELD=VALUE",
            dest="changes",
        )
        verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        verb.add_argument("--max-minutes", type=float, help="then stop, with a checkpoint")
    for verb in (tokenizer, shards, run, sweep, lora):
        verb.add_argument("--output", type=Path, required=True, help="a folder")
        verb.add_argument("--cache", type=Path, default=CACHE, help="of encoded texts")


def run(options: dict[str, Any], say: Say) -> None:
    """Do what the arguments ask for. Raises TrainingError."""
    {
        "tokenizer": _tokenizer,
        "shards": _shards,
        "run": _run,
        "sweep": _sweep,
        "lora": _lora,
    }[options["verb"]](options, say)


def _tokenizer(options: dict[str, Any], say: Say) -> None:
    from inference.training.texts import has_conversations, text_files
    from inference.training.tokenizer import save_tokenizer, train_tokenizer

    files = text_files(options["data"])
    learned = train_tokenizer(files, options["vocab"])
    save_tokenizer(learned, options["output"], chat=has_conversations(files))
    say(f"{options['output']} holds a tokenizer of {learned.get_vocab_size():,} tokens.")


def _shards(options: dict[str, Any], say: Say) -> None:
    from inference.training.data import token_folders, write_shards

    cache, tokenizer = options["cache"], options["tokenizer"]
    if not 0 <= options["cut"] <= 1:
        raise TrainingError(f"--cut is {options['cut']}; it must be from 0 to 1.")
    folders = token_folders(
        options["data"], tokenizer, vocab=0, cache=cache, say=say, cut=options["cut"]
    )
    data = write_shards(folders, options["output"])
    say(
        f"{options['output']} holds {data.tokens.size:,} tokens to train on, and "
        f"{sum(held.tokens.size for held in data.heldout.values()):,} held out."
    )


def _run(options: dict[str, Any], say: Say) -> None:
    from inference.training.pretraining import pretrain

    recipe = load_recipe(options["recipe"], options["changes"])
    pretrain(recipe, options["output"], options, say)


def _sweep(options: dict[str, Any], say: Say) -> None:
    from inference.training.pretraining import pretrain, write_sweep

    tokenizer = options["tokenizer"] or options["output"] / "tokenizer"
    until = time.monotonic() + 60 * options["max_minutes"] if options["max_minutes"] else None
    for size in options["sizes"]:
        recipe = load_recipe(options["recipe"], [*options["changes"], f"size={size}"])
        say(f"Size {size}")
        left = (until - time.monotonic()) / 60 if until else None
        these = options | {"tokenizer": tokenizer, "max_minutes": left}
        if not pretrain(recipe, options["output"] / size, these, say):
            return
    write_sweep(options["output"], options["sizes"], say)


def _lora(options: dict[str, Any], say: Say) -> None:
    from inference.training.lora import fine_tune

    recipe = load_recipe(options["recipe"], options["changes"])
    fine_tune(recipe, options["output"], options, say)
