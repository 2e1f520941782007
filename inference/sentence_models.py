"""The sentence models of a folder, on one thread of their own beside the engine.

They are loaded when they are first asked, and stay. transformers, which runs them, is optional:
without it there are none. No torch at import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from inference.errors import InvalidParameter, ModelInvalid, ModelUnavailable, QueueFull
from inference.fingerprint import fingerprint
from inference.sentence_layout import is_sentence_model, read_layout

if TYPE_CHECKING:
    from inference.sentence_encoder import SentenceEncoder

Vectors = np.ndarray[Any, np.dtype[np.float32]]
"""[text, number]"""
Ids = Sequence[int]

MAX_BATCH_TOKENS = 4096
"""Computed at once, with the padding: others have their turn after it."""
MAX_WAITING = 64
_FILES = ("config.json", "tokenizer.json", "model.safetensors")


class SentenceModel:
    """One of them. Thread-safe. `encode` and `context_length` are those of a PromptCodec."""

    kind = "embedding"

    def __init__(self, name: str, directory: Path, worker: _Worker) -> None:
        """Raises ModelInvalid, UnsupportedArchitecture."""
        self.name, self.directory = name, directory
        self._layout, self._worker = read_layout(directory), worker
        self._tokenizer = _tokenizer(directory / "tokenizer.json")
        self._encoder: SentenceEncoder | None = None

    @property
    def context_length(self) -> int:
        return self._layout.context_length

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of its weights, which may have to be read for it."""
        return fingerprint(self.directory)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        text = text.lower() if self._layout.lower_cases else text
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def clipped(self, text: str) -> list[int]:
        """The tokens of a text, of one that is too long those that it reads."""
        ids, most = self.encode(text), self.context_length
        # the last one is the mark of the end
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]

    async def vectors(self, texts: Sequence[Ids]) -> Vectors:
        """Of texts that are not empty, each as long as it reads at most. Cancelling leaves out the
        batches that have not begun. Raises ModelUnavailable and its subclasses, QueueFull,
        InvalidParameter."""
        for ids in texts:
            self._check(ids)
        rows: dict[int, Any] = {}
        for batch in batches(texts):
            found = await asyncio.wrap_future(self.submit([texts[index] for index in batch]))
            rows |= zip(batch, found, strict=True)
        return np.stack([rows[index] for index in range(len(texts))])

    def _check(self, ids: Ids) -> None:
        """Raises InvalidParameter."""
        vocabulary = self._layout.vocabulary
        if max(ids) >= vocabulary:
            raise InvalidParameter("input", max(ids), f"below the vocabulary of {vocabulary}")

    def submit(self, texts: Sequence[Ids]) -> Future[Vectors]:
        """One batch. Raises QueueFull; the future raises ModelUnavailable and its subclasses."""
        return self._worker.submit(self._computed, texts)

    def _computed(self, texts: Sequence[Ids]) -> Vectors:
        if self._encoder is None:
            from inference.sentence_encoder import SentenceEncoder

            self._encoder = SentenceEncoder(self.directory, self._layout)
        found: Vectors = self._encoder.vectors(texts).numpy()
        return found


class SentenceModels:
    """Those in the folders of `models_dir`, by the folder's name."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir, self._worker = models_dir, _Worker()
        self._models: dict[str, SentenceModel] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """Of those that can be used."""
        if not self._models_dir.is_dir() or not _can_run():
            return []
        return sorted(
            folder.name
            for folder in self._models_dir.iterdir()
            if self._directory(folder.name) and all((folder / name).is_file() for name in _FILES)
        )

    def get(self, name: str) -> SentenceModel | None:
        """None where no folder of this name has one. Its tokenizer may take a second: not for the
        event loop. Raises ModelUnavailable and its subclasses."""
        directory = self._directory(name)
        if directory is None:
            return None
        if not _can_run():
            raise ModelUnavailable(
                f"{name} is a sentence model, and those are run by the package transformers, which "
                "is not installed here: pip install transformers.",
                model=name,
            )
        with self._lock:
            if name not in self._models:
                self._models[name] = SentenceModel(name, directory, self._worker)
            return self._models[name]

    def first(self) -> SentenceModel | None:
        """The first one by name, if there is any. Raises as `get`."""
        names = self.names()
        return self.get(names[0]) if names else None

    def _directory(self, name: str) -> Path | None:
        if not name or "/" in name or name.startswith("."):
            return None
        directory = self._models_dir / name
        return directory if is_sentence_model(directory) else None


class _Worker:
    """The thread, and how much may wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sentences")
        self._waiting, self._lock = 0, Lock()

    def submit(self, work: Any, texts: Sequence[Ids]) -> Future[Vectors]:
        """Raises QueueFull."""
        with self._lock:
            if self._waiting >= MAX_WAITING:
                raise QueueFull(
                    f"{self._waiting} batches of texts are waiting for their vectors.",
                    waiting=self._waiting,
                    limit=MAX_WAITING,
                    retry_after_s=5,
                )
            self._waiting += 1
        future: Future[Vectors] = self._pool.submit(work, texts)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[Vectors]) -> None:
        with self._lock:
            self._waiting -= 1


def batches(texts: Sequence[Ids]) -> Iterator[list[int]]:
    """Indexes of texts that are computed together: of about one length, and so many that they have
    MAX_BATCH_TOKENS with their padding."""
    batch: list[int] = []
    for index in sorted(range(len(texts)), key=lambda each: len(texts[each])):
        if batch and (len(batch) + 1) * len(texts[index]) > MAX_BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _can_run() -> bool:
    return find_spec("transformers") is not None


def _tokenizer(path: Path) -> Tokenizer:
    """Without the lengths that it may have been saved with. Raises ModelInvalid."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers has no other kind
        raise ModelInvalid(f"{path} is not a tokenizer ({error}).", path=str(path)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
