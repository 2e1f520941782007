"""The files of a corpus: compressed lines of JSON, and the manifest that says what they are.

A file appears under its name when it is whole, and counts once the manifest lists it: a run that
was killed goes on with the first file that is not listed.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.corpus.recipe import HELD_OUT, CorpusError, Job, Recipe

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Story:
    """One line of a file. id: unique in the corpus; says the seed and which story it is."""

    text: str
    source: str
    language: str
    id: str

    def line(self) -> str:
        fields = {"text": self.text, "source": self.source, "language": self.language}
        return json.dumps({**fields, "id": self.id}, ensure_ascii=False) + "\n"


def is_held_out(text: str) -> bool:
    """One story of a hundred, whatever file or source it is in: the same text always is."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % HELD_OUT == 0


def read(path: Path) -> Iterator[Story]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Story(**json.loads(line))


def stories(
    folder: Path, source: str = "*", language: str = "*", split: str = "train"
) -> Iterator[Story]:
    """All stories of a corpus that are of that kind, file by file."""
    for path in sorted(folder.glob(f"{source}-{language}-{split}-*.jsonl.gz")):
        yield from read(path)


def write(folder: Path, name: str, lines: Iterable[Story]) -> dict[str, Any]:
    """What the manifest says about the file. Raises CorpusError."""
    count = characters = 0
    part = folder / f"{name}.part"
    with told(folder):
        # no name and no time in the file: the same stories are the same bytes
        with part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
            for story in lines:
                out.write(story.line().encode())
                count, characters = count + 1, characters + len(story.text)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        size = part.stat().st_size
        part.replace(folder / name)
    return {"stories": count, "characters": characters, "bytes": size, "sha256": digest}


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """An error of the disk, in words. Raises CorpusError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CorpusError(
                f"The disk of {folder} is full. Make room and give the same command again: it "
                "goes on from there."
            ) from error
        raise CorpusError(f"{folder} cannot be written: {error.strerror}.") from error


class Manifest:
    """manifest.json of a folder: the recipe, the versions of what wrote it, and the files."""

    def __init__(self, folder: Path, recipe: Recipe, versions: dict[str, str]) -> None:
        """Raises CorpusError where the folder holds a corpus of another recipe."""
        self.folder = folder
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._data: dict[str, Any] = {
            "recipe": recipe.as_json(),
            "versions": versions,
            "files": {},
        }
        path = folder / MANIFEST
        if path.exists():
            self._go_on(_load(path))

    def _go_on(self, found: dict[str, Any]) -> None:
        for part in ("recipe", "versions"):
            old, new = found.get(part, {}), self._data[part]
            for key in old.keys() & new.keys():
                if old[key] != new[key]:
                    raise CorpusError(
                        f"{self.folder} holds a corpus with {key} {old[key]}, not {new[key]}. Use "
                        "another folder, or delete that one."
                    )
            new.update(old | new)
        self._data["files"] = found.get("files", {})

    def has(self, job: Job) -> bool:
        """Whether both files of a job are there, whole, with as many stories as are asked now."""
        for split in ("train", "heldout"):
            entry, path = self._data["files"].get(job.file(split)), self.folder / job.file(split)
            if entry is None or entry["asked"] != job.count or not path.exists():
                return False
            if path.stat().st_size != entry["bytes"]:
                return False
        return True

    def add(self, job: Job, entries: dict[str, dict[str, Any]]) -> None:
        """Raises CorpusError."""
        for split, entry in entries.items():
            about = {"source": job.source, "language": job.language, "split": split}
            self._data["files"][job.file(split)] = {**about, "asked": job.count, **entry}
        self._data["files"] = dict(sorted(self._data["files"].items()))
        path = self.folder / MANIFEST
        part = path.with_suffix(".part")
        with told(self.folder):
            part.write_text(json.dumps(self._data, indent=1) + "\n")
            part.replace(path)

    def totals(self) -> dict[str, tuple[int, int]]:
        """Stories and characters of training text, by source and language."""
        sums: dict[str, tuple[int, int]] = {}
        for entry in self._data["files"].values():
            if entry["split"] == "train":
                name = f"{entry['source']} {entry['language']}"
                stories, characters = sums.get(name, (0, 0))
                sums[name] = stories + entry["stories"], characters + entry["characters"]
        return sums


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
            raise ValueError("it has no files")
    except ValueError as error:
        raise CorpusError(f"{path} is damaged ({error}). Delete it to begin again.") from error
    return found
