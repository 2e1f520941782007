"""Stories of two models side by side, without their names: which side is whose is drawn before
anyone reads, kept in a file of its own, and looked up when the verdicts are in."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from inference.corpus import quality
from inference.evaluation.subject import Story
from inference.training.errors import TrainingError, writing

PAIRS, KEY = "pairs.md", "key.json"
COUNT = 20
# Words of a story that are shown: fewer than any model may write, so that no story shows by where
# it stops how many tokens its model had left.
WORDS = 150
_PLAIN = str.maketrans("‘’“”–—", "''\"\"--")
_VERDICT = re.compile(r"(\d+)\s+([ABab=])\s+(\S.*)")
_HEAD = re.compile(r"(reader|date):\s*(\S.*)")
_ORDERS = f"""# Which story is better?

Write a file of your own, such as `verdicts.txt`, beside this one. Do not open {KEY} before.

    reader: your name
    date: 2026-01-31
    1 A it stays with the owl; B forgets the dark
    2 = both go in circles

One line for each pair: its number, the better side (A, B, or = where neither is), and why.
Stories are cut after the last sentence that ends within {WORDS} words.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader found. counts: by the name of the model that was better, "=" where none."""

    file: str
    reader: str
    date: str
    counts: dict[str, int]


def write_pairs(
    folder: Path,
    names: tuple[str, str],
    stories: tuple[Sequence[Story], Sequence[Story]],
    seed: int,
) -> None:
    """key.json to leave alone, then pairs.md to read. stories: of the same prompts. Raises
    TrainingError, also where the folder has a key: what was drawn stays drawn."""
    if (folder / KEY).exists():
        raise TrainingError(f"{folder} has pairs already. Take another folder.")
    draw = random.Random(seed)
    key: dict[str, dict[str, str]] = {}
    parts = [_ORDERS]
    for number, both in enumerate(zip(*stories, strict=True), start=1):
        order = draw.sample((0, 1), 2)
        key[str(number)] = {side: names[index] for side, index in zip("AB", order, strict=True)}
        parts.append(f"## {number}\n\nBegins: _{both[0].prompt}_ …\n")
        for side, index in zip("AB", order, strict=True):
            parts.append(f"**{side}** … {shown(both[index].text)}\n")
    text = "\n".join(parts)
    kept = {"seed": seed, "pairs_sha256": _digest(text.encode()), "pairs": key}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEY).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / PAIRS).write_text(text, "utf-8")


def shown(text: str) -> str:
    """A story without what tells models apart and makes none better: paragraphs, curved quotation
    marks, and where it was cut."""
    words = text.translate(_PLAIN).split()
    plain = " ".join(words[:WORDS])
    if len(words) <= WORDS and quality.ends(plain):
        return plain
    ends = [found.end() for found in re.finditer(r"[.!?][\"')]*(?= |$)", plain)]
    return plain[: ends[-1]] if ends else plain


def tally(verdicts: Path) -> Reading:
    """Whose stories were better, by the key beside the verdicts. Raises TrainingError for pairs
    that were changed, a reader, day or reason that is missing, and a pair that is judged twice,
    not at all, or unknown."""
    key = _key(verdicts.parent)
    head, judged = _read(verdicts, key)
    if left := [number for number in key if number not in judged]:
        raise TrainingError(f"{verdicts}: not judged yet: {', '.join(left)}.")
    for name in ("reader", "date"):
        if name not in head:
            raise TrainingError(f"{verdicts}: a line '{name}: …' is missing.")
    names = sorted({name for pair in key.values() for name in pair.values()})
    wins = Counter(key[number].get(side, "=") for number, side in judged.items())
    counts = {name: wins[name] for name in [*names, "="]}
    return Reading(verdicts.name, head["reader"], head["date"], counts)


def _key(folder: Path) -> dict[str, dict[str, str]]:
    try:
        kept: dict[str, Any] = json.loads((folder / KEY).read_text("utf-8"))
        key: dict[str, dict[str, str]] = kept["pairs"]
        same = _digest((folder / PAIRS).read_bytes()) == kept["pairs_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: {KEY} or {PAIRS} cannot be read: {error!r}.") from error
    if not same:
        raise TrainingError(f"{folder / PAIRS} is not the file that was drawn with {KEY}.")
    return key


def _read(path: Path, key: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """The reader and the date; and the side for each pair."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from error
    head: dict[str, str] = {}
    judged: dict[str, str] = {}
    for line in filter(None, map(str.strip, lines)):
        if found := _HEAD.fullmatch(line):
            head[found[1]] = _day(path, found[2]) if found[1] == "date" else found[2]
            continue
        match = _VERDICT.fullmatch(line)
        if match is None or match[1] not in key:
            raise TrainingError(
                f"{path}: {line!r} is not the number of a pair, then A, B or =, and then a reason."
            )
        if match[1] in judged:
            raise TrainingError(f"{path}: pair {match[1]} is judged twice.")
        judged[match[1]] = match[2].upper()
    return head, judged


def _day(path: Path, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise TrainingError(f"{path}: date: {text!r} is no day such as 2026-01-31.") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
