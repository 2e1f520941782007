"""Texts that are read to be judged: log probabilities of their tokens, and their vectors. A piece
between two steps each, as for any question (`examinations.py`); memory is bounded by the piece.

Pieces of a scored text are as short as their rows of logits are long. Nothing of a scored text is
taken from the cache, since logits are not kept there; what it leaves there, an answer that goes on
from it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import torch

from inference.examination import Embedded, Embedding, Scored, Scoring
from inference.kv_cache import KVCache
from inference.logprobs import TokenLogprobs
from inference.runner import Runner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest

PIECE, PIECE_BESIDE = 512, 64
"""Tokens that are read at once: alone, and beside answers that are being written."""
MOST_LOGITS = 1 << 23
"""Numbers: 32 MiB of them, and a few copies."""
TEXTS_AT_ONCE = 32


class Scorer:
    """running: how many requests run at this moment."""

    def __init__(self, runner: Runner, cache: KVCache, running: Callable[[], int]) -> None:
        self._runner, self._cache, self._running = runner, cache, running

    def score(self, asked: Scoring) -> Generator[None, None, Scored]:
        ids = asked.ids
        with_logits = max(1, MOST_LOGITS // self._runner.config.vocab_size)
        sequence = _sequence(ids, "scoring")
        while not self._has_room(sequence):
            yield
        try:
            found: list[TokenLogprobs] = []
            while sequence.pending:
                chunk = Chunk(sequence, min(sequence.pending, self.piece, with_logits))
                first = sequence.computed + 1
                came = ids[first : first + chunk.length]
                found += self._runner.score(chunk, came, asked.top)
                sequence.computed += chunk.length
                self._cache.publish(sequence)
                yield
            return Scored(tuple(found))
        finally:
            self._cache.release(sequence)

    def embed(self, asked: Embedding) -> Generator[None, None, Embedded]:
        vectors: list[tuple[float, ...]] = []
        while len(vectors) < len(asked.texts):
            sequences: list[Sequence] = []
            try:
                for ids in _together(asked.texts[len(vectors) :]):
                    sequence = _sequence(ids, "embedding")
                    while not self._has_room(sequence) and not sequences:
                        yield
                    if not sequence.blocks:
                        break
                    sequences.append(sequence)
                sums = torch.zeros(len(sequences), self._runner.config.hidden_size)
                yield from self._add_states(sequences, sums)
            finally:
                for sequence in sequences:
                    self._cache.release(sequence, spoilt=True)
            normed = torch.nn.functional.normalize(sums.double(), dim=-1)
            vectors += map(tuple, normed.tolist())
        return Embedded(tuple(vectors))

    @property
    def piece(self) -> int:
        return PIECE_BESIDE if self._running() else PIECE

    def _has_room(self, sequence: Sequence) -> bool:
        size, spare = sequence.prompt_length, self._running()
        return self._cache.admit(sequence, size, spare, anew=True)

    def _add_states(
        self, sequences: list[Sequence], sums: torch.Tensor
    ) -> Generator[None, None, None]:
        """The sum has the mean's direction."""
        while any(sequence.pending for sequence in sequences):
            left, chunks, rows = self.piece, [], []
            for row, sequence in enumerate(sequences):
                if left and sequence.pending:
                    chunks.append(Chunk(sequence, min(sequence.pending, left)))
                    rows.append(row)
                    left -= chunks[-1].length
            sums[rows] += self._runner.state_sums(tuple(chunks))
            for chunk in chunks:
                chunk.sequence.computed += chunk.length
            yield


def _sequence(ids: tuple[int, ...], name: str) -> Sequence:
    return Sequence(GenerateRequest(name, "", ids), len(ids), 0, 0)


def _together(texts: tuple[tuple[int, ...], ...]) -> Iterator[tuple[int, ...]]:
    """The first one, and those after it that are short enough to be read along with it."""
    size = 0
    for ids in texts[:TEXTS_AT_ONCE]:
        size += len(ids)
        if size > PIECE and size > len(ids):
            return
        yield ids
