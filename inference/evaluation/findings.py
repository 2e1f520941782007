"""What an evaluation found, as it is kept in report.json: all that the report is written from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.evaluation.blind import Reading
from inference.evaluation.subject import Story
from inference.training.errors import TrainingError, writing
from inference.training.run_log import read_log

FILE, LOG = "report.json", "log.jsonl"
Rows = Sequence[dict[str, Any]]


@dataclass(slots=True)
class Findings:
    """By name of the model, of which the first is the one it is all about: parameters and
    vocabulary; foresight by held-out source; numbers and stories by list of prompts, such as
    `outside-en`. held: of each outside list, how many prompts have an unknown word and how many
    there are. without: models trained without a source. trained: logs of models, sizes: logs of
    runs of other sizes, in short. judge: the model that judged, empty where none."""

    seed: int = 0
    judge: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    foresight: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    numbers: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    trained: dict[str, Rows] = field(default_factory=dict)
    sizes: dict[str, Rows] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    stories: dict[str, dict[str, Sequence[Story]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return next(iter(self.models))

    @property
    def compared(self) -> list[str]:
        """The model and its references."""
        return [name for name in self.models if name not in self.without]

    @property
    def reference(self) -> str | None:
        return self.compared[1] if len(self.compared) > 1 else None


def save(findings: Findings, folder: Path) -> None:
    """Raises TrainingError."""
    path = folder / FILE
    with writing(path):
        text = json.dumps(asdict(findings), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> Findings:
    """Raises TrainingError."""
    path = folder / FILE
    try:
        findings = Findings(**json.loads(path.read_text(encoding="utf-8")))
        findings.readings = [Reading(**reading) for reading in findings.readings]  # type: ignore[arg-type]
        findings.stories = {
            name: {its: [Story(**story) for story in told] for its, told in lists.items()}  # type: ignore[arg-type]
            for name, lists in findings.stories.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is no report of an evaluation: {error!r}.") from error
    return findings


def short_log(run: Path) -> Rows:
    """Of a training run: how it began, its held-out losses, and its last step with the minutes
    that all of them took. Nothing where the folder has no log."""
    rows = read_log(run / LOG)
    steps = [row for row in rows if row["event"] == "step"]
    kept = [row for row in rows if row["event"] in ("begin", "heldout")]
    return [*kept, {**steps[-1], "minutes": _seconds(steps) / 60}] if steps else kept


def _seconds(steps: Rows) -> float:
    """Each logged stretch by its rate: pauses between calls do not count."""
    before, seconds = 0, 0.0
    for row in steps:
        seconds += (row["tokens"] - before) / max(1, row["tokens_per_s"])
        before = row["tokens"]
    return seconds
