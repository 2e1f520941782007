"""Drafts on a GPU: the last known token and the guesses behind it, several tokens of a sequence at
once, each attended to as if it were a decode. Captured graphs, one for each of some lengths, made
when they are first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as PySequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from inference.batch import ForwardBatch
from inference.device_buffers import Packet
from inference.drafting import MOST_DRAFTED
from inference.graphs import captured
from inference.prompt_batch import PromptArrays, PromptTensors, laid_out
from inference.scheduler import Chunk
from kernels import NO_GUESS, DraftRows, DraftTable, SamplingTable

Array = np.ndarray[Any, np.dtype[Any]]
Forward = Callable[[ForwardBatch], torch.Tensor]

MOST_ROWS = 2 * MOST_DRAFTED
"""Of a step: there is a guess at least behind each known token."""

_SIZES = (4, 8, 16, 24, 32, 48, 64, 96, MOST_ROWS)


@dataclass(frozen=True, slots=True)
class _Graph:
    inputs: PromptTensors
    graph: torch.cuda.CUDAGraph
    logits: torch.Tensor


class DraftChecks:
    """Computes drafts and samples behind each of their tokens."""

    def __init__(
        self,
        forward: Forward,
        table: SamplingTable,
        width: int,
        device: torch.device,
        pool: object,
    ) -> None:
        """width: the most blocks of one sequence. pool: the graphs' memory."""
        self._forward, self._width, self._device, self._pool = forward, width, device, pool
        self._drafts = DraftTable(table, MOST_ROWS)
        self._graphs: dict[int, _Graph] = {}

    def sample(self, chunks: PySequence[Chunk], seats: PySequence[int]) -> torch.Tensor:
        """int32[R], see `DraftTable.sample`: for each chunk its rows, one after the other."""
        logits = self._logits(laid_out(chunks))
        rows = draft_rows(chunks, seats)
        return self._drafts.sample(logits, DraftRows(rows[0], *Packet(self._device, rows).tensors))

    def _logits(self, arrays: PromptArrays) -> torch.Tensor:
        """fp32[T, V]: after every token. Read them before the next."""
        size = next(size for size in _SIZES if size >= arrays.tokens)
        if size not in self._graphs:
            self._graphs[size] = self._captured(size)
        its = self._graphs[size]
        its.inputs.write(self._padded(arrays, size))
        its.graph.replay()
        return its.logits[: arrays.tokens]

    def _captured(self, size: int) -> _Graph:
        inputs = PromptTensors(self._padded(PromptArrays.empty(), size), self._device)
        graph, logits = captured(lambda: self._forward(inputs.decodes()), self._pool)
        return _Graph(inputs, graph, logits)

    def _padded(self, arrays: PromptArrays, size: int) -> PromptArrays:
        return arrays.padded(size, size // 2, self._width, 0)


def draft_rows(chunks: PySequence[Chunk], seats: PySequence[int]) -> tuple[Array, ...]:
    """The arrays of `DraftRows`, in its order, once on the host."""
    counts = [chunk.rows for chunk in chunks]
    begins = list(accumulate(counts, initial=0))[:-1]
    known = [len(chunk.sequence.tokens) for chunk in chunks]
    earlier = [
        (begin + row, guess)
        for chunk, begin in zip(chunks, begins, strict=True)
        for row in range(1, chunk.rows)
        for guess in chunk.draft[:row]
    ]
    return (
        np.repeat(np.array(seats, np.int64), counts),
        np.concatenate(
            [n + np.arange(c, dtype=np.int32) for n, c in zip(known, counts, strict=True)]
        ),
        np.array([guess for chunk in chunks for guess in (*chunk.draft, NO_GUESS)], np.int32),
        np.repeat(np.array(begins, np.int64), counts),
        np.array(earlier, np.int64).T,
    )
