"""Tokens on disk: a folder of .npy files of 16-bit ids, at most 15 MB each, with an index that
names, measures and checks them, and the tokenizer they were made with. No torch here.

A document is <|endoftext|> and its tokens; the next one's begins where it ends. Where not every
token is to be learned (the questions of conversations), a second file says which.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.training.errors import TrainingError, writing
from inference.training.texts import Split, group
from inference.training.tokenizer import TOKENIZER_FILES, write_json

INDEX = "index.json"
SHARD_TOKENS = 7_499_000

Array = np.ndarray[Any, np.dtype[Any]]
# Tokens uint16[n], and which of them are learned, bool[n] or None for all.
Part = tuple[Array, Array | None]


@dataclass(frozen=True, slots=True)
class Shard:
    """learned: the file that says which tokens count, empty where all do. sha256: of the tokens."""

    file: str
    split: Split
    source: str
    language: str
    tokens: int
    documents: int
    characters: int
    bytes: int
    sha256: str
    learned: str = ""


@dataclass(slots=True)
class _Open:
    """A shard that is being filled."""

    tokens: list[Array] = field(default_factory=list)
    learned: list[Array] = field(default_factory=list)
    size: int = 0
    documents: int = 0
    characters: int = 0
    bytes: int = 0


class ShardWriter:
    """Fills a folder; `close` writes the index, without which it is none."""

    def __init__(self, directory: Path, tokenizer: Path, vocab: int) -> None:
        self._directory, self._vocab = directory, vocab
        self._open: dict[tuple[Split, str, str], _Open] = {}
        self._done: list[Shard] = []
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / INDEX).unlink(missing_ok=True)
            for name in TOKENIZER_FILES:
                if (tokenizer / name).exists():
                    shutil.copyfile(tokenizer / name, directory / name)

    def add(
        self,
        key: tuple[Split, str, str],
        tokens: Array,
        learned: Array | None,
        *,
        counts: tuple[int, int, int],
    ) -> None:
        """key: split, source, language. tokens uint16[n]; learned bool[n], None: all. counts: of
        documents, characters and UTF-8 bytes."""
        learned = np.ones(tokens.size, np.bool_) if learned is None else learned
        while True:
            shard = self._open.setdefault(key, _Open())
            room = SHARD_TOKENS - shard.size
            shard.tokens.append(tokens[:room])
            shard.learned.append(learned[:room])
            shard.size += shard.tokens[-1].size
            if tokens.size <= room:
                break
            self._flush(key)
            tokens, learned = tokens[room:], learned[room:]
        shard.documents += counts[0]
        shard.characters += counts[1]
        shard.bytes += counts[2]

    def close(self) -> None:
        """Raises TrainingError where nothing was added."""
        for key in list(self._open):
            self._flush(key)
        if not self._done:
            raise TrainingError(f"{self._directory}: there are no tokens to write.")
        index = {
            "vocab": self._vocab,
            "tokenizer_sha256": file_digest(self._directory / "tokenizer.json"),
            "shards": [asdict(shard) for shard in self._done],
        }
        with writing(self._directory / INDEX):
            write_json(self._directory / INDEX, index)

    def _flush(self, key: tuple[Split, str, str]) -> None:
        shard, number = self._open.pop(key), len(self._done)
        split, source, language = key
        tokens, learned = np.concatenate(shard.tokens), np.concatenate(shard.learned)
        file, mask = f"{split}-{number:04}.npy", ""
        with writing(self._directory / file):
            np.save(self._directory / file, tokens)
            if not learned.all():
                mask = f"{split}-{number:04}-learned.npy"
                np.save(self._directory / mask, np.packbits(learned))
        counts = (tokens.size, shard.documents, shard.characters, shard.bytes)
        sha = digest(tokens)
        self._done.append(Shard(file, split, source, language, *counts, sha256=sha, learned=mask))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out tokens of one source and language."""

    tokens: Array
    learned: Array | None
    bytes: int


@dataclass(frozen=True, slots=True)
class TokenData:
    """What a run learns from. tokens uint16[n]; learned bool[n], None: all."""

    vocab: int
    tokenizer: Path
    tokens: Array
    learned: Array | None
    heldout: dict[str, HeldOut]
    shards: tuple[Shard, ...]
    digest: str


def is_shards(path: Path) -> bool:
    return (path / INDEX).is_file()


def load_shards(directories: Sequence[Path]) -> TokenData:
    """All shards of folders that were made with one tokenizer, in the order of the folders and
    their indexes. Raises TrainingError for a file that is missing or damaged."""
    indexes = [_index(directory) for directory in directories]
    if len({index["tokenizer_sha256"] for index in indexes}) != 1:
        raise TrainingError("The token shards were made with different tokenizers.")
    train: list[Part] = []
    heldout: dict[str, list[Part]] = {}
    sizes: dict[str, int] = {}
    shards: list[Shard] = []
    for shard, part in itertools.chain.from_iterable(map(shard_parts, directories)):
        shards.append(shard)
        if shard.split == "train":
            train.append(part)
        else:
            name = group(shard.source, shard.language)
            heldout.setdefault(name, []).append(part)
            sizes[name] = sizes.get(name, 0) + shard.bytes
    if not train:
        raise TrainingError("There are no tokens to train on, only held-out ones.")
    tokens, learned = _joined(train)
    held = {name: HeldOut(*_joined(parts), sizes[name]) for name, parts in sorted(heldout.items())}
    names = "".join(shard.sha256 for shard in shards)
    identity = hashlib.sha256(names.encode()).hexdigest()
    vocab = int(indexes[0]["vocab"])
    return TokenData(vocab, directories[0], tokens, learned, held, tuple(shards), identity)


def shard_parts(directory: Path) -> Iterator[tuple[Shard, Part]]:
    """Each shard of a folder with its tokens. Raises TrainingError."""
    for entry in _index(directory)["shards"]:
        shard = Shard(**entry)
        yield shard, _read(directory, shard)


def digest(tokens: Array) -> str:
    return hashlib.sha256(tokens.tobytes()).hexdigest()


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _index(directory: Path) -> dict[str, Any]:
    path = directory / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        assert {"vocab", "tokenizer_sha256", "shards"} <= index.keys()
    except (OSError, ValueError, AssertionError, AttributeError) as error:
        raise TrainingError(f"{path} is no index of token shards: {error!r}.") from error
    return dict(index)


def _read(directory: Path, shard: Shard) -> Part:
    path = directory / shard.file
    try:
        tokens: Array = np.load(path, allow_pickle=False)
        mask = np.load(directory / shard.learned, allow_pickle=False) if shard.learned else None
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"{path} cannot be read: {error}. Make the shards again.") from error
    if digest(tokens) != shard.sha256:
        raise TrainingError(f"{path} is damaged: make or copy the shards again.")
    if mask is None:
        return tokens, None
    return tokens, np.unpackbits(mask)[: tokens.size].astype(np.bool_)


def _joined(parts: list[Part]) -> Part:
    tokens = np.concatenate([tokens for tokens, _ in parts])
    if all(learned is None for _, learned in parts):
        return tokens, None
    masks = [np.ones(t.size, np.bool_) if m is None else m for t, m in parts]
    return tokens, np.concatenate(masks)
