"""What was found as Markdown with pictures, and the card of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.evaluation.subject import SAMPLING, Story
from inference.training.errors import writing
from inference.training.pretraining import sweep_table

UNCHOSEN = 10
SIDE_BY_SIDE = 5
ROWS = {
    "repeated_4grams": "4-grams said before in the same story",
    "distinct_2_within": "different 2-grams, within a story",
    "distinct_2_across": "different 2-grams, across all stories",
    "distinct_4_across": "different 4-grams, across all stories",
    "keep_characters": "stories that keep their characters",
    "end_well": "stories that end by themselves, with a sentence",
    "copied_8grams": "8-grams that are in the training text",
    "units": "words of a continuation",
    "judged": "perplexity per character, as {judge} sees the story",
}
_SHARES = tuple(ROWS)[:7]


@dataclass(slots=True)
class Findings:
    """By name of the model: parameters and vocabulary; foresight by held-out source; numbers and
    stories by language. runs: training logs. judge: the model that judged, empty where none."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    foresight: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    numbers: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    stories: dict[str, dict[str, Sequence[Story]]] = field(default_factory=dict)
    runs: dict[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    seed: int = 0
    judge: str = ""


def write_report(findings: Findings, folder: Path) -> Path:
    """README.md, its pictures, and report.json with the same numbers. Raises TrainingError."""
    pictures = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if draw_numbers(findings, folder / "numbers.png"):
            pictures.append("numbers.png")
        if findings.runs and draw_runs(findings.runs, folder / "sizes.png"):
            pictures.append("sizes.png")
        path = folder / "README.md"
        path.write_text(report(findings, pictures), encoding="utf-8")
        numbers = {"models": findings.models, "seed": findings.seed, "judge": findings.judge}
        numbers |= {"foresight": findings.foresight, "stories": findings.numbers}
        text = json.dumps(numbers, indent=1, ensure_ascii=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    return path


def report(findings: Findings, pictures: Sequence[str]) -> str:
    parts = ["# The story model, judged", _how(findings), "## Foreseeing held-out texts"]
    parts.append(_foresight(findings))
    for language in next(iter(findings.numbers.values())):
        parts += [f"## Stories ({language})", _numbers(findings, language)]
    if "numbers.png" in pictures:
        parts.append("![The numbers of the stories](numbers.png)")
    if findings.runs:
        parts += ["## Sizes that were tried", sweep_table(findings.runs)]
    if "sizes.png" in pictures:
        parts.append("![Held-out loss by parameters and tokens](sizes.png)")
    parts.append("## Side by side")
    parts.append(f"The first {SIDE_BY_SIDE} prompts of each language, as they came.")
    parts += list(_side_by_side(findings))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def model_card(findings: Findings, name: str, facts: Mapping[str, str]) -> str:
    """facts: title, licence, data and limits, in words."""
    model = findings.models[name]
    parts = [f"# {facts['title']}", facts["about"]]
    parts += ["## Data", facts["data"], "## Recipe", _recipe(model, findings.runs.get(name, ()))]
    parts += ["## How good it is", _foresight(findings)]
    for language in findings.numbers[name]:
        parts.append(_numbers(findings, language))
    parts += ["## Limits", facts["limits"], "## Licence", facts["licence"]]
    parts.append(f"## The first {UNCHOSEN} stories, not chosen")
    for stories in findings.stories[name].values():
        parts += [_shown(story) for story in stories[:UNCHOSEN]]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _how(findings: Findings) -> str:
    models = "; ".join(
        f"**{name}** ({m['parameters']:,} parameters, {m['vocab']:,} tokens of vocabulary)"
        for name, m in findings.models.items()
    )
    return (
        f"{models}. Computed by our own engine. Every story continues one of the fixed beginnings "
        f"in `inference/evaluation/prompts.toml`, which are in no training text, at temperature "
        f"{SAMPLING.temperature:g} and top-p {SAMPLING.top_p:g}, up to {SAMPLING.max_tokens} "
        f"tokens, with seeds from {findings.seed} on. What the measures mean is in "
        "`inference/corpus/quality.py`."
    )


def _foresight(findings: Findings) -> str:
    """Bits per byte compare models with different tokenizers; perplexities per token do not."""
    lines = [["held-out source", "model", "bits/byte", "perplexity/character", "perplexity/token"]]
    for name, sources in findings.foresight.items():
        for source, n in sources.items():
            numbers = [n["bits_per_byte"], n["per_character"], n["per_token"]]
            lines.append([source, name, *(f"{value:.3f}" for value in numbers)])
    return table([lines[0], *sorted(lines[1:])])


def _numbers(findings: Findings, language: str) -> str:
    names = [name for name, its in findings.numbers.items() if language in its]
    lines = [["", *names]]
    for key, title in ROWS.items():
        values = [findings.numbers[name][language].get(key) for name in names]
        if any(value is not None for value in values):
            shown = [_shown_number(key, value) for value in values]
            lines.append([title.format(judge=findings.judge), *shown])
    return table(lines)


def _shown_number(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return (
        f"{value:.1%}" if key in _SHARES else f"{value:.2f}" if key == "judged" else f"{value:.0f}"
    )


def _side_by_side(findings: Findings) -> list[str]:
    parts = []
    first = next(iter(findings.stories.values()))
    for language, stories in first.items():
        for index, story in enumerate(stories[:SIDE_BY_SIDE]):
            parts.append(f"### {story.prompt}")
            for name, its in findings.stories.items():
                if language in its:
                    parts += [f"**{name}**", _shown(its[language][index])]
    return parts


def _shown(story: Story) -> str:
    end = "" if story.ended else " …"
    lines = f"**{story.prompt}**{story.text}{end}".strip().splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _recipe(model: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    lines = [["", ""], ["parameters", f"{model['parameters']:,}"]]
    lines.append(["vocabulary", f"{model['vocab']:,}"])
    begins = [row for row in rows if row["event"] == "begin"]
    steps = [row for row in rows if row["event"] == "step"]
    if begins and steps:
        recipe, machine = begins[0]["recipe"], begins[0]["machine"]
        minutes = sum(_seconds(steps, recipe)) / 60
        lines += [
            [
                "layers, heads and width",
                f"size {recipe['size']} of `inference/training/sizes.toml`",
            ],
            ["tokens learned from", f"{steps[-1]['tokens']:,}"],
            ["batch", f"{recipe['batch_tokens']:,} tokens"],
            [
                "optimizer",
                f"{recipe['optimizer']}, {recipe['learning_rate']:g}, {recipe['schedule']}",
            ],
            ["precision", str(begins[0]["precision"])],
            ["cost", f"{minutes:.1f} minutes on {machine['device']} × {machine['processes']}"],
            ["last training loss", f"{steps[-1]['loss']:.3f} nats per token"],
        ]
    return table(lines)


def _seconds(steps: Sequence[dict[str, Any]], recipe: Mapping[str, Any]) -> list[float]:
    """Of each logged stretch, by its rate."""
    before, found = 0, []
    for row in steps:
        found.append((row["tokens"] - before) / max(1, row["tokens_per_s"]))
        before = row["tokens"]
    return found


def draw_numbers(findings: Findings, picture: Path) -> bool:
    """Shares as bars, a group for each measure; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    series = [(n, lang, v) for n, its in findings.numbers.items() for lang, v in its.items()]
    for index, (name, language, numbers) in enumerate(series):
        keys = [key for key in _SHARES if key in numbers]
        height = 0.8 / len(series)
        places = [_SHARES.index(key) + index * height for key in keys]
        values = [numbers[key] for key in keys]
        axes.barh(places, values, height=height, label=f"{name} ({language})")
    axes.set_yticks(range(len(_SHARES)), [ROWS[key] for key in _SHARES], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=120)
    return True


def draw_runs(runs: Mapping[str, Sequence[dict[str, Any]]], picture: Path) -> bool:
    """The held-out bits per byte of each run over its tokens."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, rows in runs.items():
        held = [row for row in rows if row["event"] == "heldout"]
        for source in sorted({source for row in held for source in row["sources"]}):
            axes.plot(
                [row["tokens"] for row in held],
                [row["sources"][source]["bits_per_byte"] for row in held],
                marker=".",
                label=f"{name}: {source}",
            )
    axes.set_xlabel("tokens learned from")
    axes.set_ylabel("held-out bits per byte")
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=120)
    return True
