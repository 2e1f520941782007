"""The words of `manage.py evaluate` and of `python -m inference.evaluation`, and what they do."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.training.errors import TrainingError, writing

if TYPE_CHECKING:
    from inference.evaluation.findings import Findings, Rows
    from inference.options import EngineOptions

Say = Callable[[str], None]
HELP = (
    "Judge a story model beside others: how well it foresees held-out texts, what its stories are "
    "like, what it copied. Or count what people found who compared two models blindly."
)
CHARACTERS = 60_000
# Tokens of the KV cache for each of so many stories at once.
_AT_ONCE, _LONGEST = 128, 512


def add_arguments(parser: ArgumentParser) -> None:
    named = "NAME=FOLDER, or a folder with a name that says enough"
    parser.add_argument("model", nargs="?", help=f"the model: {named}")
    parser.add_argument(
        "--reference", nargs="+", default=[], metavar="MODEL", help="models to compare with, alike"
    )
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="SOURCE=RUN",
        help="folders of training runs that did not see a source",
    )
    parser.add_argument("--corpus", type=Path, help="what it learned from, with held-out texts")
    parser.add_argument("--judge", type=Path, help="the folder of a larger model: reads stories")
    parser.add_argument("--languages", nargs="+", default=["en"], choices=("en", "zh"))
    parser.add_argument("--prompts", type=int, default=100, help="of each list, at most")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="held out, per source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--sizes", type=Path, nargs="+", default=[], metavar="RUN", help="training runs to compare"
    )
    parser.add_argument("--output", type=Path, help="a folder for the report")
    parser.add_argument("--card", type=Path, help="write the model's card into this file")
    parser.add_argument(
        "--blind", type=Path, help="a folder for pairs of stories of the model and the reference"
    )
    parser.add_argument("--benchmark", type=Path, help="a folder for the time of a story, as JSON")
    parser.add_argument(
        "--verdicts", type=Path, nargs="+", help="count them; with --output, write them there too"
    )


def run(options: dict[str, Any], say: Say) -> None:
    """Do what the arguments ask for. Raises TrainingError, EngineError."""
    logging.getLogger("inference").setLevel(logging.WARNING)
    if options["verdicts"]:
        _tally(options, say)
        return
    if options["model"] is None:
        raise TrainingError("Name the folder of a model, or --verdicts.")
    if options["benchmark"]:
        _benchmark(options, say)
    if options["output"] or options["card"] or options["blind"]:
        _evaluate(options, say)


def _tally(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.blind import tally
    from inference.evaluation.card import write_card
    from inference.evaluation.findings import load
    from inference.evaluation.report import write_report

    readings = [tally(path) for path in options["verdicts"]]
    for its in readings:
        for name, count in its.counts.items():
            say(f"{its.reader}: {'no difference' if name == '=' else name}: {count}")
    if options["output"]:
        findings = load(options["output"])
        findings.readings = readings
        say(f"Written to {write_report(findings, options['output'])}.")
        if options["card"]:
            write_card(findings, options["card"])


def _benchmark(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.speed import story_speed

    found = story_speed(*_named(options["model"]))
    path = options["benchmark"] / "story.json"
    with writing(path):
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(f"{found['tokens']} tokens in {found['seconds']:.2f} s. Written to {path}.")


def _evaluate(options: dict[str, Any], say: Say) -> None:
    from inference.evaluation.card import write_card
    from inference.evaluation.judging import judge
    from inference.evaluation.prompts import choose
    from inference.evaluation.report import write_report

    models, without = _models(options)
    sizes = {path.name: _log(path) for path in options["sizes"]}
    corpus: Path | None = options["corpus"]
    findings = judge(
        models,
        choose(options["languages"], options["prompts"]),
        without=without,
        corpus=corpus,
        judging=options["judge"],
        characters=options["characters"],
        seed=options["seed"],
        options=_engine(options["device"]),
        say=say,
    )
    findings.sizes = sizes
    if options["blind"]:
        _write_pairs(findings, options["blind"], say)
    if options["output"]:
        say(f"Written to {write_report(findings, options['output'])}.")
    if options["card"]:
        write_card(findings, options["card"])
        say(f"Written to {options['card']}.")


def _write_pairs(findings: Findings, folder: Path, say: Say) -> None:
    from inference.evaluation.blind import COUNT, PAIRS, write_pairs

    names = (findings.name, str(findings.reference))
    first, second = (findings.stories[name]["general-en"][:COUNT] for name in names)
    write_pairs(folder, names, (first, second), findings.seed)
    say(f"Read {folder / PAIRS}, then run evaluate --verdicts on what you wrote.")


def _models(options: dict[str, Any]) -> tuple[dict[str, Path], list[str]]:
    """Folders of all models by their names, and the names of those without a source. Raises
    TrainingError."""
    named = [_named(text) for text in (options["model"], *options["reference"])]
    without = []
    for text in options["without"]:
        source, equals, run = str(text).partition("=")
        if not equals:
            raise TrainingError(f"--without {text}: write SOURCE=RUN, such as chat=var/no-chat.")
        without.append(f"without {source}")
        named.append((without[-1], Path(run) / "model"))
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise TrainingError(f"Two of the models are called the same: {', '.join(names)}.")
    if options["blind"] and not options["reference"]:
        raise TrainingError("--blind needs a --reference.")
    if options["blind"] and "en" not in options["languages"]:
        raise TrainingError("--blind needs English stories: --languages en.")
    return dict(named), without


def _named(text: str | Path) -> tuple[str, Path]:
    """The folder of a run calls its model `model`: then the run's name says more."""
    name, equals, folder = str(text).partition("=")
    if equals:
        return name, Path(folder)
    own = Path(name).resolve()
    return own.parent.name if own.name == "model" else own.name, own


def _log(run: Path) -> Rows:
    from inference.evaluation.findings import LOG, short_log

    rows: Sequence[dict[str, Any]] = short_log(run)
    if {"begin", "heldout", "step"} - {row["event"] for row in rows}:
        raise TrainingError(f"--sizes: {run / LOG} has no steps and held-out losses of a run.")
    return rows


def _engine(device: str) -> EngineOptions:
    """Stories do not depend on the others that are told at the same time."""
    from inference.options import EngineOptions

    return EngineOptions(
        device=device,
        deterministic=True,
        reuse=False,
        max_batch=_AT_ONCE,
        kv_tokens=_AT_ONCE * _LONGEST,
    )
