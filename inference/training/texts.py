"""Texts to learn from: a folder of the corpus, plain text, JSONL, or conversations. No torch here,
since the processes that tokenise import this.

A corpus is a folder with manifest.json and files *-train-*.jsonl.gz and *-heldout-*.jsonl.gz, one
{"text", "source", "language", "id"} per line. Of any other files, every fiftieth document is held
out, chosen by its content, or the end of a text that is alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inference.training.errors import TrainingError

Split = Literal["train", "heldout"]
MANIFEST = "manifest.json"
END_OF_TEXT = "<|endoftext|>"
_SUFFIXES = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")
_HELD_OUT_ONE_IN = 50
_TAIL = 20


@dataclass(frozen=True, slots=True)
class Document:
    """One text, or one conversation: then `messages` are set and the text is empty."""

    text: str
    source: str
    language: str
    split: Split
    messages: tuple[dict[str, str], ...] = ()

    @property
    def group(self) -> str:
        """What it is counted with: its source, and its language where that is known."""
        return group(self.source, self.language)


def group(source: str, language: str) -> str:
    return f"{source}-{language}" if language else source


def text_files(inputs: Iterable[Path]) -> list[Path]:
    """The files of folders and files that are given, sorted. Raises TrainingError."""
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
            if not found:
                raise TrainingError(f"{path} holds no {', '.join(_SUFFIXES)} files.")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise TrainingError(f"{path} does not exist.")
    if not files:
        raise TrainingError("No texts were given.")
    return files


def documents(path: Path) -> Iterator[Document]:
    """The documents of one file, in order. Raises TrainingError for a file that is empty, binary,
    damaged or not what its name says, naming the line or byte."""
    text = _text(path)
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        found = _lines(path, text)
    else:
        found = _plain(path, text)
    empty = True
    for document in found:
        empty = False
        yield document
    # of few stories of a corpus none may be held out
    if empty and not (path.parent / "manifest.json").exists():
        raise TrainingError(f"{path} holds no text.")


def has_conversations(files: Iterable[Path]) -> bool:
    """Whether a file begins with one."""
    return any(next(documents(path)).messages for path in files)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from error
    if b"\0" in data:
        raise TrainingError(f"{path} is binary, not text (byte {data.index(0)} is zero).")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 text (byte {error.start}).") from error


def _plain(path: Path, text: str) -> Iterator[Document]:
    """Documents are separated by <|endoftext|>, as story collections are published."""
    source = path.name.split(".")[0]
    texts = [part.strip() for part in text.split(END_OF_TEXT) if part.strip()]
    if len(texts) == 1:
        cut = len(texts[0]) - len(texts[0]) // _TAIL
        yield Document(texts[0][:cut], source, "", "train")
        if texts[0][cut:].strip():
            yield Document(texts[0][cut:], source, "", "heldout")
        return
    for part in texts:
        yield Document(part, source, "", _split(path, part))


def _lines(path: Path, text: str) -> Iterator[Document]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TrainingError(f"{path}, line {number} is not JSON: {error}.") from error
        document = _document(path, row)
        if document is None:
            raise TrainingError(
                f'{path}, line {number} must be {{"text": "…"}} or {{"messages": [{{"role": "…", '
                f'"content": "…"}}, …]}}.'
            )
        yield document


def _document(path: Path, row: Any) -> Document | None:
    """None: the row is of no known form."""
    if not isinstance(row, dict):
        return None
    source = str(row.get("source") or path.name.split(".")[0])
    language = str(row.get("language") or "")
    text, messages = row.get("text"), row.get("messages")
    if isinstance(text, str) and text.strip():
        return Document(text, source, language, _split(path, text))
    if isinstance(messages, list) and messages and all(map(_is_message, messages)):
        kept = tuple({"role": m["role"], "content": m["content"]} for m in messages)
        return Document("", source, language, _split(path, json.dumps(kept)), kept)
    return None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) for name in ("role", "content")
    )


def _split(path: Path, text: str) -> Split:
    if "-train-" in path.name:
        return "train"
    if "-heldout-" in path.name:
        return "heldout"
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return "train" if int.from_bytes(digest[:4]) % _HELD_OUT_ONE_IN else "heldout"
