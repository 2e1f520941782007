"""What happened in a run, one JSON object per line, and its loss curve as a picture.

Lines are {"event": "begin" | "step" | "heldout" | "end", …}. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.training.errors import writing

Row = dict[str, Any]


class RunLog:
    def __init__(self, path: Path) -> None:
        self._path = path

    def resume(self, step: int) -> None:
        """Drop what was written after the checkpoint that a run goes on from."""
        kept = [row for row in read_log(self._path) if row.get("step", 0) <= step]
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text("".join(map(_line, kept)), encoding="utf-8")
            partial.replace(self._path)

    def write(self, event: str, **fields: Any) -> None:
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line({"event": event, **fields}))


def read_log(path: Path) -> list[Row]:
    """Rows in order; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def draw_curves(logs: Mapping[str, Sequence[Row]], picture: Path) -> bool:
    """The training loss of each run, and its held-out losses as points; False where matplotlib
    is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, rows in logs.items():
        steps = [row for row in rows if row["event"] == "step"]
        axes.plot([r["tokens"] for r in steps], [r["loss"] for r in steps], label=name, lw=1)
        held = [row for row in rows if row["event"] == "heldout"]
        for source in sorted({source for row in held for source in row["sources"]}):
            having = [row for row in held if source in row["sources"]]
            axes.plot(
                [row["tokens"] for row in having],
                [row["sources"][source]["loss"] for row in having],
                marker=".",
                ls="--",
                lw=0.8,
                label=f"{name}, held out: {source}",
            )
    axes.set_xlabel("tokens learned from")
    axes.set_ylabel("loss (nats per token)")
    axes.set_ylim(top=_top(logs))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with writing(picture):
        figure.savefig(picture, dpi=120)
    return True


def _top(logs: Mapping[str, Sequence[Row]]) -> float | None:
    """The first steps would flatten the rest: the picture ends at the loss of a twentieth."""
    tops = []
    for rows in logs.values():
        losses = [row["loss"] for row in rows if row["event"] == "step"]
        tops += losses[len(losses) // 20 :][:1]
    return max(tops) * 1.1 if tops else None


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
