"""Decodes as captured graphs: one for each of some numbers of rows, and one for a row alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import kernels
from inference.batch import ForwardBatch
from inference.device_buffers import DecodeBuffers
from inference.graphs import captured, milliseconds
from kernels import AttentionBatch, GpuTokenDecoder, SamplingTable

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)

_Graph = tuple[torch.cuda.CUDAGraph, torch.Tensor | None]


class DecodeGraphs:
    """forward: of a batch, its logits. one_token: all of it as one kernel for one row, where the
    model fits. pool: the graphs' memory."""

    def __init__(
        self,
        forward: Callable[[ForwardBatch], torch.Tensor],
        table: SamplingTable,
        rows: DecodeBuffers,
        one_token: GpuTokenDecoder | None,
        pool: Any,
    ) -> None:
        self._forward, self._table, self._rows = forward, table, rows
        self._one_token, self._pool = one_token, pool
        self._graphs: dict[tuple[Any, ...], _Graph] = {}

    @property
    def sizes(self) -> list[int]:
        """Of the graphs that all seats together may need."""
        seats = self._table.seats
        return [size for size in SIZES if size < seats] + [seats]

    def replay(self, seats: list[int], *, keeps: bool = False) -> dict[int, torch.Tensor]:
        """One token of each of these. keeps: give the logits fp32[V] of each seat, as they are
        before they are sampled from; read them before the next."""
        size = max(seats) + 1
        alone = len(seats) == 1 and self._one_token is not None
        if not alone:
            size = next(each for each in SIZES if each >= size)
        graph, logits = self.graph(size, alone=alone, keeps=keeps)
        graph.replay()
        if logits is None:
            return {}
        return {seat: logits[0 if alone else seat] for seat in seats}

    def graph(self, size: int, *, alone: bool = False, keeps: bool = False) -> _Graph:
        """Of a decode of the first `size` rows, or of the last of these alone."""
        size = min(size, self._table.seats)
        key = (size, alone, keeps, self._table.layout)
        if key not in self._graphs:
            rows = slice(size - 1 if alone else 0, size)
            self._graphs[key] = self._captured(rows, alone=alone, keeps=keeps)
        return self._graphs[key]

    def choose_for_one_token(self) -> dict[str, float]:
        """One kernel or one for each op: whichever is faster here, for this model. The milliseconds
        of each, where there is a choice."""
        if self._one_token is None:
            return {}
        ways = {"one kernel": self.graph(1, alone=True)[0], "a kernel an op": self.graph(1)[0]}
        taken = {name: milliseconds(graph) for name, graph in ways.items()}
        if min(taken, key=taken.__getitem__) != "one kernel":
            self._one_token = None
        return taken

    def _captured(self, rows: slice, *, alone: bool, keeps: bool) -> _Graph:
        before = self._rows.save()
        self._rows.clear()
        captures = captured(lambda: self._step(rows, alone=alone, keeps=keeps), self._pool)
        self._rows.restore(before)
        return captures

    def _step(self, rows: slice, *, alone: bool, keeps: bool) -> torch.Tensor | None:
        """A decode of some rows: every tensor stays where it is."""
        r, one, token = self._rows, self._one_token, self._table.sampled[rows]
        if alone and one is not None:
            logits = one.run(token, r.positions[rows], r.block_tables[rows.start])
        else:
            logits = self._logits(rows)
        kept = logits.clone() if keeps else None  # biases and penalties are written into them
        kernels.sample(logits, self._table, r.sampled_rows(rows))
        return kept

    def _logits(self, rows: slice) -> torch.Tensor:
        r, size = self._rows, rows.stop - rows.start
        tables, lengths = r.block_tables[rows], r.context_lens[rows]
        attention = AttentionBatch(tables, lengths, tuple(range(size + 1)), size)
        where = (r.positions[rows], r.slots[rows])
        batch = ForwardBatch(r.ids[rows], *where, attention, None, self._table.sampled)
        return self._forward(batch)
