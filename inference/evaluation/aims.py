"""What the model that we ship must be better at than its first reference, and whether it is."""

from __future__ import annotations

from inference.evaluation.findings import Findings
from inference.evaluation.tables import SHARES, as_shown, title

# By list and measure: 1 where more is asked for, -1 where less is, 0 where it may be the same.
_BETTER = {"repeated_4grams": -1, "keep_characters": 1}
_NO_LOWER = ("distinct_2_within", "distinct_2_across", "distinct_4_across")
_GENERAL, _OUTSIDE = "general-en", "outside-en"
MOST_COPIED = 0.2


def aims(findings: Findings) -> list[list[str]]:
    """Lines of a table: what is asked for, the numbers of the model and its reference, and whether
    it holds. Copies are looked for only where there is a corpus."""
    reference = findings.reference
    assert reference is not None
    mine, theirs = (findings.numbers[name][_GENERAL] for name in (findings.name, reference))
    lines = [["", "stories", "asked for", findings.name, reference, "holds"]]
    for key in (*_BETTER, *_NO_LOWER):
        sign = _BETTER.get(key, 0)
        holds = sign * mine[key] > sign * theirs[key] if sign else mine[key] >= theirs[key]
        asked = {1: "more", -1: "fewer", 0: "no lower"}[sign]
        lines.append(_line(key, _GENERAL, asked, mine[key], theirs[key], holds))
    copied = findings.numbers[findings.name].get(_OUTSIDE, {}).get("copied_8grams")
    if copied is not None:
        theirs_copied = findings.numbers[reference][_OUTSIDE]["copied_8grams"]
        asked = f"at most {MOST_COPIED:.0%}"
        lines.append(
            _line("copied_8grams", _OUTSIDE, asked, copied, theirs_copied, copied <= MOST_COPIED)
        )
    for reading in findings.readings:
        counts = reading.counts
        won, lost = counts.get(findings.name, 0), counts.get(reference, 0)
        pairs = f"{sum(counts.values())} pairs, read blindly by {reading.reader}"
        lines.append(["better stories", pairs, "more", str(won), str(lost), _yes(won > lost)])
    return lines


def _line(key: str, which: str, asked: str, mine: float, theirs: float, holds: bool) -> list[str]:
    numbers = [as_shown(key, mine), as_shown(key, theirs)]
    return [SHARES[key], title(which), asked, *numbers, _yes(holds)]


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"
