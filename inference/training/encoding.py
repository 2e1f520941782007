"""Texts to token shards: one process per file, and a file that was encoded before is taken from
the cache, by its content and the tokenizer's. No torch here: a process must start fast."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from inference.chat_template import ChatTemplate
from inference.errors import EngineError
from inference.prompt_codec import chat_template, has_chat_template
from inference.training.cuts import pieces
from inference.training.errors import TrainingError, writing
from inference.training.shards import Array, ShardWriter, file_digest, is_shards
from inference.training.texts import END_OF_TEXT, Document, documents
from inference.training.tokenizer import end_of_text, load_tokenizer

# Changes when the same text comes out as other tokens than before.
_FORMAT = "1"
_AT_ONCE = 512
# Bytes of files from which on starting processes is worth its while.
WORTH_PROCESSES = 1_000_000


def encode_files(
    files: Sequence[Path], tokenizer: Path, cache: Path, cut: float = 0.0
) -> list[Path]:
    """A folder of token shards for each file, in order. cut: the share of the words of training
    texts that are encoded in two parts (`cuts.py`). Raises TrainingError."""
    work = partial(_encoded, tokenizer=tokenizer, cache=cache, cut=cut)
    workers = min(len(files), len(os.sched_getaffinity(0)))
    if workers < 2 or sum(path.stat().st_size for path in files) < WORTH_PROCESSES:
        return list(map(work, files))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(work, files))


def _encoded(path: Path, *, tokenizer: Path, cache: Path, cut: float) -> Path:
    """The shards of one file. A folder in its place is a whole one."""
    identity = f"{_FORMAT}\n{path.name}\n{file_digest(path)}\n"
    identity += file_digest(tokenizer / "tokenizer.json") + (f"\ncut {cut}" if cut else "")
    place = cache / hashlib.sha256(identity.encode()).hexdigest()[:24]
    if is_shards(place):
        return place
    build = place.with_name(f".{place.name}-{os.getpid()}")
    try:
        encode_into(build, [path], tokenizer, cut)
        with writing(place):
            shutil.rmtree(place, ignore_errors=True)
            build.rename(place)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return place


def encode_into(directory: Path, files: Sequence[Path], tokenizer: Path, cut: float = 0.0) -> None:
    """Write the token shards of files to a folder. Raises TrainingError."""
    encoder = _Encoder(tokenizer, cut)
    writer = ShardWriter(directory, tokenizer, encoder.vocab)
    for path in files:
        for batch in _batched(documents(path)):
            for document, (tokens, learned) in zip(batch, encoder(batch), strict=True):
                text = document.text or "".join(m["content"] for m in document.messages)
                counts = (1, len(text), len(text.encode(errors="replace")))
                key = (document.split, document.source, document.language)
                writer.add(key, tokens, learned, counts=counts)
    writer.close()


class _Encoder:
    """Documents to tokens uint16[n], and bool[n] where not all of them are to be learned."""

    def __init__(self, directory: Path, cut: float) -> None:
        self._cut = cut
        self._tokenizer: Tokenizer = load_tokenizer(directory)
        self._directory = directory
        self.vocab = int(self._tokenizer.get_vocab_size())
        if self.vocab > 65_536:
            raise TrainingError(f"{directory}: {self.vocab} tokens do not fit into 16 bits.")
        self._end = np.array([end_of_text(self._tokenizer)], np.uint16)
        self._template: ChatTemplate | None = None

    def __call__(self, batch: Sequence[Document]) -> Iterator[tuple[Array, Array | None]]:
        texts = [self._pieces(document) for document in batch if not document.messages]
        parts = [part for its in texts for part in its]
        try:
            found = iter(self._tokenizer.encode_batch_fast(parts, add_special_tokens=False))
        except (TypeError, UnicodeEncodeError) as error:
            raise TrainingError(f"A text is not valid Unicode: {error}.") from error
        counts = iter(map(len, texts))
        for document in batch:
            if document.messages:
                yield self._conversation(document.messages)
            else:
                ids = [token for _ in range(next(counts)) for token in next(found).ids]
                yield np.concatenate((self._end, np.array(ids, np.uint16))), None

    def _pieces(self, document: Document) -> list[str]:
        """Held-out texts are whole: their loss is to be that of a text as it is read."""
        return pieces(document.text, self._cut if document.split == "train" else 0.0)

    def _conversation(self, messages: Sequence[dict[str, str]]) -> tuple[Array, Array | None]:
        """As the model's chat template writes it; answers are learned, up to the token that ends
        them. A model without a template reads question and answer as one text."""
        ids: list[int] = []
        learned: list[bool] = []
        if has_chat_template(self._directory):
            parts = answer_parts(self._chat_template(), messages)
        else:
            parts = text_parts(messages)
        for text, is_answer in parts:
            part = self._tokenizer.encode(text, add_special_tokens=False).ids
            ids += part
            learned += [is_answer] * len(part)
        return np.array(ids, np.uint16), np.array(learned, np.bool_)

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            try:
                self._template = chat_template(self._directory)
            except EngineError as error:
                reason = f"Conversations need a chat template: {error.message}"
                raise TrainingError(reason) from error
        return self._template


def text_parts(messages: Sequence[dict[str, str]]) -> Iterator[tuple[str, bool]]:
    """Messages one after another as one text, and whether each piece is an answer."""
    yield END_OF_TEXT, False
    for message in messages:
        yield message["content"], message["role"] == "assistant"
    yield END_OF_TEXT, True


def answer_parts(
    template: ChatTemplate, messages: Sequence[dict[str, str]]
) -> Iterator[tuple[str, bool]]:
    """A conversation's text in pieces, and whether each is an answer. Raises TrainingError."""
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        try:
            asked = template.render(messages[:index], add_generation_prompt=True)
            whole = template.render(messages[: index + 1], add_generation_prompt=False)
        except EngineError as error:
            raise TrainingError(f"The chat template refuses a conversation: {error}") from error
        if not asked.startswith(done) or not whole.startswith(asked):
            raise TrainingError("The chat template rewrites earlier turns: answers have no place.")
        yield asked.removeprefix(done), False
        answer = whole.removeprefix(asked)
        spoken = answer.rstrip("\n")
        yield spoken, True
        if spoken != answer:
            yield answer.removeprefix(spoken), False
        done = whole


def _batched(found: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(itertools.islice(found, _AT_ONCE)):
        yield batch
