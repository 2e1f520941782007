"""What was found as Markdown with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inference.evaluation.aims import aims
from inference.evaluation.findings import Findings, save
from inference.evaluation.measures import COUNTED
from inference.evaluation.pictures import draw_numbers, draw_sizes
from inference.evaluation.subject import SAMPLING, Story
from inference.evaluation.tables import SHARES, foresight, numbers_of, table, title
from inference.training.errors import writing
from inference.training.pretraining import sweep_table

SIDE_BY_SIDE = 5
SIZES = "sizes.png"


def write_report(findings: Findings, folder: Path) -> Path:
    """README.md, its pictures, and report.json with all that they are made from. Raises
    TrainingError."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save(findings, folder)
        pictures = {
            picture_of(which): draw_numbers(findings, which, SHARES, folder / picture_of(which))
            for which in findings.numbers[findings.name]
        }
        pictures[SIZES] = bool(findings.sizes) and draw_sizes(findings.sizes, folder / SIZES)
        path = folder / "README.md"
        path.write_text(report(findings, [p for p, drawn in pictures.items() if drawn]), "utf-8")
    return path


def picture_of(which: str) -> str:
    """Of a list of prompts."""
    return f"{which}.png"


def report(findings: Findings, pictures: Sequence[str]) -> str:
    parts = [f"# {findings.name}, judged", _how(findings)]
    parts += ["## In short", table(aims(findings))] if findings.reference else []
    parts += ["## Foreseeing held-out texts", _FORESIGHT, foresight(findings, findings.compared)]
    for which in findings.numbers[findings.name]:
        parts.append(f"## Stories: {title(which)}")
        parts += [_held(*findings.held[which])] if which in findings.held else []
        parts.append(numbers_of(findings, which, findings.compared))
        if picture_of(which) in pictures:
            parts.append(f"![The numbers of these stories]({picture_of(which)})")
    parts += ["## Read blindly", *_readings(findings)] if findings.readings else []
    parts += ["## What each source contributes", *_without(findings)] if findings.without else []
    if findings.sizes:
        parts += ["## Sizes that were tried", sweep_table(findings.sizes)]
    if SIZES in pictures:
        parts.append(f"![Held-out loss by parameters and by tokens]({SIZES})")
    parts += ["## Side by side", f"The first {SIDE_BY_SIDE} prompts of each list, not chosen."]
    parts += _side_by_side(findings)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def quoted(story: Story) -> str:
    """As a quotation, the beginning in bold; with dots where it was cut for its length."""
    end = "" if story.ended else " …"
    lines = f"**{story.prompt}**{story.text}{end}".strip().splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)


_FORESIGHT = (
    "Perplexities per token do not compare models with different tokenizers; bits per byte and "
    "perplexities per character do. Lower is better."
)


def _how(findings: Findings) -> str:
    models = "; ".join(
        f"**{name}** ({m['parameters']:,} parameters, {m['vocab']:,} tokens of vocabulary)"
        for name, m in findings.models.items()
    )
    return (
        f"{models}. Computed by our own engine. Every story continues one of the fixed beginnings "
        f"in `inference/evaluation/prompts.toml`, which are in no training text, at temperature "
        f"{SAMPLING.temperature:g} and top-p {SAMPLING.top_p:g}, up to {SAMPLING.max_tokens} "
        f"tokens, with seeds from {findings.seed} on. A measure is of the continuation alone; "
        "whether a story keeps its characters is asked of the whole. Words include marks of "
        "punctuation; different n-grams are counted in the first "
        f"{COUNTED} words of each story, since longer texts say more twice. What the measures mean "
        "is in `inference/corpus/quality.py`."
    )


def _held(new: int, written: int) -> str:
    return (
        f"Of {written} prompts that were written about what the grammar has no words for, {new} "
        "have a word, not a name, that is in none of its tables. The "
        "first of these are judged."
    )


def _without(findings: Findings) -> list[str]:
    """The model beside those that were trained without a source."""
    names = [findings.name, *findings.without]
    lines = [["model", "steps", "tokens learned from"]]
    for name in names:
        steps = [row for row in findings.trained.get(name, ()) if row["event"] == "step"]
        lines.append(
            [name, *([f"{steps[-1]['step']:,}", f"{steps[-1]['tokens']:,}"] if steps else ["", ""])]
        )
    parts = ["Models of the same recipe that did not see one of the sources.", table(lines)]
    parts.append(foresight(findings, names))
    for which in findings.numbers[findings.without[0]]:
        parts += [f"Stories: {title(which)}.", numbers_of(findings, which, names)]
    return parts


def _readings(findings: Findings) -> list[str]:
    sides = list(findings.readings[0].counts)
    heads = ["neither is better" if side == "=" else f"{side} is better" for side in sides]
    lines = [["reader", "day", *heads, "verdicts"]]
    for its in findings.readings:
        counts = [str(its.counts.get(side, 0)) for side in sides]
        lines.append([its.reader, its.date, *counts, its.file])
    return [
        "Pairs of stories of the first general prompts, cut alike, without names; which side is "
        "whose was drawn with a seed and written down before anyone read. Verdicts come with their "
        "reasons.",
        table(lines),
    ]


def _side_by_side(findings: Findings) -> list[str]:
    parts = []
    for which, stories in findings.stories[findings.name].items():
        for index, story in enumerate(stories[:SIDE_BY_SIDE]):
            parts.append(f"### {story.prompt}")
            for name in findings.compared:
                if which in findings.stories.get(name, {}):
                    parts += [f"**{name}**", quoted(findings.stories[name][which][index])]
    return parts
