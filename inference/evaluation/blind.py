"""Stories of two models side by side, without their names: which side is whose is drawn before
anyone reads, kept in a file of its own, and looked up when the verdicts are in."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from inference.evaluation.subject import Story
from inference.training.errors import TrainingError, writing

PAIRS, KEY = "pairs.md", "key.json"
_VERDICT = re.compile(r"(\d+)\s*[:.)]?\s*(A|B|=)", re.IGNORECASE)


def write_pairs(
    folder: Path,
    names: tuple[str, str],
    stories: tuple[Sequence[Story], Sequence[Story]],
    seed: int,
) -> None:
    """pairs.md to read, key.json to leave alone. stories: of the same prompts. Raises
    TrainingError."""
    draw = random.Random(seed)
    key: dict[str, dict[str, str]] = {}
    parts = [
        "For each pair, write its number and the better side (A, B, or = where there is none) "
        f"into a file of your own, a line each, such as `1 A`. Do not open {KEY} before.\n"
    ]
    for number, both in enumerate(zip(*stories, strict=True), start=1):
        order = draw.sample((0, 1), 2)
        key[str(number)] = {"A": names[order[0]], "B": names[order[1]]}
        parts.append(f"## {number}\n\n_{both[0].prompt}_ …\n")
        parts += [
            f"**{side}**\n\n{_quoted(both[index].whole)}\n"
            for side, index in zip("AB", order, strict=True)
        ]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAIRS).write_text("\n".join(parts), encoding="utf-8")
        text = json.dumps({"seed": seed, "pairs": key}, indent=1, ensure_ascii=False)
        (folder / KEY).write_text(text + "\n", encoding="utf-8")


def tally(verdicts: Path) -> dict[str, int]:
    """How often each model was the better one, and how often none was ("="), by the key beside
    the verdicts. Raises TrainingError for a pair that is judged twice, not at all, or unknown."""
    try:
        key = json.loads((verdicts.parent / KEY).read_text(encoding="utf-8"))["pairs"]
        lines = verdicts.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{verdicts} and {KEY} beside it cannot be read: {error!r}.") from error
    judged: dict[str, str] = {}
    for line in filter(str.strip, lines):
        match = _VERDICT.fullmatch(line.strip())
        if match is None or match[1] not in key:
            raise TrainingError(f"{verdicts}: {line!r} is not a pair's number and A, B or =.")
        if match[1] in judged:
            raise TrainingError(f"{verdicts}: pair {match[1]} is judged twice.")
        judged[match[1]] = match[2].upper()
    if left := [number for number in key if number not in judged]:
        raise TrainingError(f"{verdicts}: not judged yet: {', '.join(left)}.")
    names = sorted({name for pair in key.values() for name in pair.values()})
    wins = Counter(key[n].get(side, "=") for n, side in judged.items())
    return {name: wins[name] for name in [*names, "="]}


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
