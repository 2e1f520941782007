"""The card of a model: what it is, what it was made from and how, what it costs, and how good it
is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from inference.evaluation.aims import aims
from inference.evaluation.findings import Findings, Rows
from inference.evaluation.report import quoted
from inference.evaluation.tables import foresight, numbers_of, table, title
from inference.training.errors import writing

UNCHOSEN = 10
FACTS = Path(__file__).with_name("story.toml")


def write_card(findings: Findings, path: Path) -> None:
    """Raises TrainingError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(card(findings), encoding="utf-8")


def card(findings: Findings) -> str:
    facts = tomllib.loads(FACTS.read_text(encoding="utf-8"))
    name = findings.name
    parts = [f"# {facts['title']}", facts["about"], "## Data", facts["data"]]
    parts += ["## Recipe and cost", _recipe(findings, findings.trained.get(name, ()))]
    parts.append("## How good it is")
    parts += [table(aims(findings))] if findings.reference else []
    parts += [foresight(findings, findings.compared)] if findings.foresight[name] else []
    for which in findings.numbers[name]:
        parts += [f"Stories, {title(which)}:", numbers_of(findings, which, findings.compared)]
    parts += ["## Limits", facts["limits"], "## Licence", facts["licence"]]
    for which, stories in findings.stories[name].items():
        if which.startswith("general"):
            parts.append(f"## The first {UNCHOSEN} stories, not chosen: {title(which)}")
            parts += [quoted(story) for story in stories[:UNCHOSEN]]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _recipe(findings: Findings, rows: Rows) -> str:
    model = findings.models[findings.name]
    lines = [["", ""], ["parameters", f"{model['parameters']:,}"]]
    lines.append(["vocabulary", f"{model['vocab']:,} tokens"])
    begins = [row for row in rows if row["event"] == "begin"]
    steps = [row for row in rows if row["event"] == "step"]
    if begins and steps:
        recipe, machine, last = begins[0]["recipe"], begins[0]["machine"], steps[-1]
        tuned = f"{recipe['optimizer']}, {recipe['learning_rate']:g}, {recipe['schedule']}"
        where = f"{machine['device']} × {machine['processes']}"
        lines += [
            ["layers, heads and width", f"size {recipe['size']}: `inference/training/sizes.toml`"],
            ["tokens learned from", f"{last['tokens']:,}, in {last['step']:,} steps"],
            ["batch", f"{recipe['batch_tokens']:,} tokens"],
            ["optimizer", tuned],
            ["precision", str(begins[0]["precision"])],
            ["cost", f"{last['minutes']:.1f} minutes on {where}"],
            ["last training loss", f"{last['loss']:.3f} nats per token"],
        ]
    return table(lines)
