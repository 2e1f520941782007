"""The pictures of the report. Each function says whether it drew: not where matplotlib is not
installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inference.evaluation.findings import Findings, Rows


def draw_numbers(findings: Findings, which: str, titles: Mapping[str, str], picture: Path) -> bool:
    """Shares of one list of prompts as bars, a group for each measure. titles: of the shares."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    series = [name for name in findings.compared if which in findings.numbers[name]]
    for index, name in enumerate(series):
        numbers = findings.numbers[name][which]
        height = 0.8 / len(series)
        having = [(place, key) for place, key in enumerate(titles) if key in numbers]
        places = [place + index * height for place, _ in having]
        axes.barh(places, [numbers[key] for _, key in having], height=height, label=name)
    axes.set_yticks(range(len(titles)), list(titles.values()), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=120)
    return True


def draw_sizes(runs: Mapping[str, Rows], picture: Path) -> bool:
    """The held-out bits per byte of each source: in the end, by parameters; and on the way, over
    the tokens learned from."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    ends, ways = figure.subplots(1, 2)
    last: dict[str, list[tuple[int, float]]] = {}
    for name, rows in runs.items():
        held = [row for row in rows if row["event"] == "heldout"]
        parameters = next(row["parameters"] for row in rows if row["event"] == "begin")
        for source in sorted({source for row in held for source in row["sources"]}):
            bits = [row["sources"][source]["bits_per_byte"] for row in held]
            last.setdefault(source, []).append((parameters, bits[-1]))
            ways.plot([r["tokens"] for r in held], bits, marker=".", label=f"{name}: {source}")
    for source, points in last.items():
        ends.plot(*zip(*sorted(points), strict=True), marker="o", label=source)
    for axes, title in ((ends, "parameters"), (ways, "tokens learned from")):
        axes.set(xlabel=title, ylabel="held-out bits per byte", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
    ends.set_xscale("log")
    figure.savefig(picture, dpi=120)
    return True
