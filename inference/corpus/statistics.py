"""`python -m inference.corpus.statistics DIR`: a corpus in numbers, as a table of Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from inference.corpus import files, quality
from inference.corpus.duplicates import Seen
from inference.corpus.recipe import CHARACTERS_PER_TOKEN

# distinct-n falls with the number of stories: sources are compared on equally many.
COMPARED = 1000
HEAD = (
    "source",
    "asked",
    "kept",
    "stories",
    "characters",
    "tokens, about",
    "units a story",
    "distinct-1",
    "distinct-2",
    "distinct-3",
    "repeated 4-grams",
    "characters kept",
    "near duplicates",
    "8-grams of other stories",
)


def rows(folder: Path) -> list[tuple[str, ...]]:
    """One row for each source and language."""
    manifest = json.loads((folder / files.MANIFEST).read_text("utf-8"))
    sources = {(e["source"], e["language"]) for e in manifest["files"].values()}
    return [_row(folder, manifest, *source) for source in sorted(sources)]


def _row(folder: Path, manifest: dict[str, Any], source: str, lang: str) -> tuple[str, ...]:
    entries = [
        entry for name, entry in manifest["files"].items() if name.startswith(f"{source}-{lang}-")
    ]
    train = [entry for entry in entries if entry["split"] == "train"]
    characters = sum(entry["characters"] for entry in train)
    asked = sum(entry["asked"] for entry in train)
    refused = sum(sum(entry.get("refused", {}).values()) for entry in train)
    texts = [s.text for s in islice(files.stories(folder, source, lang), 2 * COMPARED)]
    return (
        f"{source} {lang}",
        f"{asked:,}",
        f"{1 - refused / asked:.0%}",
        f"{sum(entry['stories'] for entry in train):,}",
        f"{characters:,}",
        f"{characters / CHARACTERS_PER_TOKEN[lang]:,.0f}",
        *measures(texts, lang),
    )


def measures(texts: Sequence[str], language: str) -> tuple[str, ...]:
    """Of the first thousand; the 8-grams are those of the first half that the second half has."""
    some = texts[:COMPARED]
    seen = Seen()
    half = len(texts) // 2
    known = quality.Known(texts[:half])
    count = max(1, len(some))
    return (
        f"{sum(len(quality.units(text)) for text in some) / count:.0f}",
        *(f"{quality.distinct(some, n):.4f}" for n in (1, 2, 3)),
        f"{sum(map(quality.repeated, some)) / count:.2%}",
        f"{sum(map(quality.keeps_characters, some)) / count:.1%}" if language == "en" else "-",
        f"{sum(not seen.is_new(text) for text in some) / count:.2%}",
        f"{sum(map(known.share, texts[half:])) / max(1, len(texts) - half):.1%}",
    )


def main() -> None:
    table = [HEAD, *rows(Path(sys.argv[1]))]
    for cells in zip(*table, strict=True):
        sys.stdout.write("| " + " | ".join(cells) + " |\n")
        if cells[0] == HEAD[0]:
            sys.stdout.write("|---" * len(cells) + "|\n")


if __name__ == "__main__":
    main()
