"""The words of `manage.py evaluate` and of `python -m inference.evaluation`, and what they do."""

from __future__ import annotations

import json
import logging
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.training.errors import TrainingError, writing

Say = Callable[[str], None]
HELP = (
    "Judge a story model beside others: how well it foresees held-out texts, what its stories are "
    "like, what it copied. Or let people compare two models blindly."
)
CHARACTERS = 200_000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", type=Path, help="the folder of the model")
    parser.add_argument("--name", help="of the model in the report; default: its folder's")
    parser.add_argument(
        "--reference", type=Path, nargs="+", default=[], help="folders of models to compare with"
    )
    parser.add_argument("--corpus", type=Path, help="what it learned from, with held-out texts")
    parser.add_argument("--judge", type=Path, help="the folder of a larger model: reads stories")
    parser.add_argument("--languages", nargs="+", default=["en"], choices=("en", "zh"))
    parser.add_argument("--prompts", type=int, default=100, help="of each language, at most")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="held out, per source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="training runs to show")
    parser.add_argument("--output", type=Path, help="a folder for the report, or for the pairs")
    parser.add_argument("--card", type=Path, help="write the model's card into this file")
    parser.add_argument("--facts", type=Path, help="TOML: title, about, data, limits, licence")
    parser.add_argument("--benchmark", type=Path, help="a folder for the time of a story, as JSON")
    parser.add_argument("--blind-pairs", type=int, metavar="N", help="write N pairs to compare")
    parser.add_argument("--verdicts", type=Path, help="tally a file of verdicts")


def run(options: dict[str, Any], say: Say) -> None:
    """Do what the arguments ask for. Raises TrainingError, EngineError."""
    logging.getLogger("inference").setLevel(logging.WARNING)
    if options["verdicts"]:
        _tally(options["verdicts"], say)
        return
    if options["model"] is None:
        raise TrainingError("Name the folder of a model, or --verdicts.")
    if options["benchmark"]:
        _benchmark(options, say)
    if options["blind_pairs"]:
        _pairs(options, say)
    elif options["output"] or options["card"]:
        _report(options, say)


def _tally(verdicts: Path, say: Say) -> None:
    from inference.evaluation.blind import tally

    for name, count in tally(verdicts).items():
        say(f"{'no difference' if name == '=' else name}: {count}")


def _benchmark(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.speed import story_speed

    found = story_speed(_names(options)[0], options["model"])
    path = options["benchmark"] / "story.json"
    with writing(path):
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(f"{found['tokens']} tokens in {found['seconds']:.2f} s. Written to {path}.")


def _pairs(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.blind import PAIRS, write_pairs
    from inference.evaluation.judging import prompts
    from inference.evaluation.subject import Subject

    if len(options["reference"]) != 1 or not options["output"]:
        raise TrainingError("--blind-pairs needs one --reference and --output.")
    beginnings = prompts(["en"], options["blind_pairs"])["en"]
    if len(beginnings) < options["blind_pairs"]:
        raise TrainingError(f"--blind-pairs: there are only {len(beginnings)} prompts.")
    told = [
        Subject(name, directory, _engine(options)).tell(beginnings, options["seed"])
        for name, directory in _models(options).items()
    ]
    first, second = _models(options)
    write_pairs(options["output"], (first, second), (told[0], told[1]), options["seed"])
    say(f"Read {options['output'] / PAIRS}, then run evaluate --verdicts on what you wrote.")


def _report(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.judging import judge, prompts
    from inference.evaluation.report import model_card, write_report
    from inference.training.run_log import read_log

    findings = judge(
        _models(options),
        corpus=options["corpus"],
        judging=options["judge"],
        beginnings=prompts(options["languages"], options["prompts"]),
        characters=options["characters"],
        seed=options["seed"],
        options=_engine(options),
        say=say,
    )
    findings.runs = {path.name: read_log(path / "log.jsonl") for path in options["runs"]}
    if options["output"]:
        say(f"Written to {write_report(findings, options['output'])}.")
    if options["card"]:
        if not options["facts"]:
            raise TrainingError("--card needs --facts: title, about, data, limits and licence.")
        name = _names(options)[0]
        card = model_card(findings, name, tomllib.loads(options["facts"].read_text("utf-8")))
        with writing(options["card"]):
            options["card"].write_text(card, encoding="utf-8")
        say(f"Written to {options['card']}.")


def _names(options: dict[str, Any]) -> list[str]:
    """The folder of a run calls its model `model`: then the run's name says more."""
    own = options["model"].resolve()
    name = options["name"] or (own.parent.name if own.name == "model" else own.name)
    return [name, *(path.resolve().name for path in options["reference"])]


def _models(options: dict[str, Any]) -> dict[str, Path]:
    names, folders = _names(options), [options["model"], *options["reference"]]
    if len(set(names)) < len(names):
        raise TrainingError(f"Two of the models are called the same: {', '.join(names)}.")
    return dict(zip(names, folders, strict=True))


def _engine(options: dict[str, Any]) -> Any:
    from inference.options import EngineOptions

    return EngineOptions(device=options["device"], kv_tokens=16_384, max_batch=16)
