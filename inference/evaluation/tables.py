"""Numbers of an evaluation as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from inference.evaluation.findings import Findings

# In the order in which they are shown. Shares are shown in percent.
SHARES = {
    "repeated_4grams": "4-grams said before in the same story",
    "distinct_2_within": "different 2-grams, within a story",
    "distinct_2_across": "different 2-grams, across all stories",
    "distinct_4_across": "different 4-grams, across all stories",
    "keep_characters": "stories that keep their characters",
    "end_well": "stories that end by themselves, with a sentence",
    "copied_8grams": "8-grams that are in the training text",
}
OTHERS = {
    "units": "words of a continuation",
    "judged": "perplexity per character, as {judge} sees the story",
}
_LISTS = {"general": "general beginnings", "outside": "outside the grammar"}
_LANGUAGES = {"en": "English", "zh": "Chinese"}


def table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def title(which: str) -> str:
    """Of a list of prompts, such as `outside-en`."""
    name, _, language = which.partition("-")
    return f"{_LISTS[name]} ({_LANGUAGES[language]})"


def foresight(findings: Findings, names: Sequence[str]) -> str:
    lines = [["held-out source", "model", "bits/byte", "perplexity/character", "perplexity/token"]]
    for source in findings.foresight[names[0]]:
        for name in names:
            n = findings.foresight[name][source]
            numbers = [n["bits_per_byte"], n["per_character"], n["per_token"]]
            lines.append([source, name, *(f"{value:.3f}" for value in numbers)])
    return table(lines)


def numbers_of(findings: Findings, which: str, names: Sequence[str]) -> str:
    """One list of prompts, a column for each model that was given it."""
    told = [name for name in names if which in findings.numbers[name]]
    lines = [["", *told]]
    for key, words in (SHARES | OTHERS).items():
        values = [findings.numbers[name][which].get(key) for name in told]
        if any(value is not None for value in values):
            shown = [as_shown(key, value) for value in values]
            lines.append([words.format(judge=findings.judge), *shown])
    return table(lines)


def as_shown(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if key in SHARES else f"{value:.{2 if key == 'judged' else 0}f}"
