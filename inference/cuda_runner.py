"""Runs a model on a GPU: prompts as they come, decodes as captured graphs, tokens one step behind.

A sequence has a seat: a row of the buffers that decodes read. A step of decodes moves its rows on
by itself (the sampled token becomes the next one's input, positions and slots grow), so as long as
nobody joins or leaves, a step is one replay of a graph and nothing goes to the GPU.
"""

from __future__ import annotations

import gc
import heapq
from collections.abc import Callable, Iterator
from collections.abc import Sequence as PySequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

import numpy as np
import torch

import kernels
from inference import architectures, cache_blocks
from inference.architectures.llama_trace import TracedPass
from inference.batch import ForwardBatch
from inference.compute_check import check_compute
from inference.config import ModelConfig
from inference.decode_rows import PlacedRows
from inference.device_buffers import DecodeBuffers, Packet
from inference.device_tokens import TokenCopy, fatal_errors
from inference.draft_checks import DraftChecks
from inference.graphs import captured, milliseconds
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.memory_ledger import MemoryLedger
from inference.options import EngineOptions
from inference.prompt_batch import PromptTensors, prompt_arrays
from inference.prompt_graphs import PromptGraphs
from inference.prompt_lookup import DraftCost
from inference.runner import Array, Step
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from inference.weights import TensorSource
from kernels import AttentionBatch, CacheLayer, SampledRows, SamplingTable

_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Of rows, at which products are measured: each stands for what is above half of it.
_TUNED = tuple(2**i for i in range(13))

_Result = TypeVar("_Result")


class CudaRunner:
    """See `inference.runner.Runner`."""

    device = "cuda"
    steps_ahead = 1
    # whoever guesses waits for its token: for the time of a step, nothing is launched for it
    draft_cost = DraftCost(row=0.03, step=1)

    def __init__(self, config: ModelConfig, weights: TensorSource, options: EngineOptions) -> None:
        """Copies the weights to the current GPU. Raises ModelInvalid."""
        self.config = config
        self.blocks = -(-options.kv_tokens // BLOCK_SIZE)
        self._device = torch.device("cuda", torch.cuda.current_device())
        self.device_name = torch.cuda.get_device_name(self._device)
        self.dtype = weights.dtype
        check_compute(options, self.dtype, "cuda")
        self._memory = MemoryLedger()
        with self._memory.entry("weights"):
            self._architecture = architectures.build(config, weights, self._device, options.plugins)
        with self._memory.entry("cache"):
            self._caches = [self._layer_cache() for _ in range(config.layers)]
        seats = options.max_batch
        width = -(-min(config.context_length, options.kv_tokens) // BLOCK_SIZE)
        with self._memory.entry("rows"):
            self._table = SamplingTable(seats, config.vocab_size, self._device)
            self._rows = DecodeBuffers(seats, width, self.blocks, self._device)
        self._seats: dict[Sequence, int] = {}
        self._free_seats = list(range(seats))
        self._in_rows = PlacedRows((), [], [], [])
        self._graphs: dict[tuple[Any, ...], torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._prompts = PromptGraphs(self.forward, config.heads, self._caches[0], width, self._pool)
        self._drafts = DraftChecks(self.forward, self._table, width, self._device, self._pool)
        self._step_tokens = options.step_tokens
        one_way = kernels.products().may_differ_for_one_row(self.dtype)
        with self._memory.entry("one kernel"):
            self._one_token = self._architecture.on_gpu(self._caches) if one_way else None
        self.one_token_ms: dict[str, float] = {}
        self._copies = [TokenCopy(seats, self._device) for _ in range(3)]
        self._results = cycle(self._copies)

    @property
    def waited_s(self) -> float:
        """Seconds that the host has waited for tokens."""
        return sum(copy.waited_s for copy in self._copies)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of tensors on the GPU, by what they are for; they are all there are."""
        return dict(self._memory.bytes)

    @torch.inference_mode()
    def launch(self, chunks: tuple[Chunk, ...]) -> Step:
        with fatal_errors(self._device):
            prompts = [c for c in chunks if c.sequence.computed < c.sequence.to_read]
            drafts = [c for c in chunks if c.draft]
            decodes = chunks[: len(chunks) - len(prompts) - len(drafts)]
            if prompts:
                for chunk in prompts:
                    self._seat(chunk.sequence)
                self._read(prompts)
            if decodes:
                self._decode(decodes)
            seats = self._in_rows.seats if decodes else []
            later = [self._seats[chunk.sequence] for chunk in prompts if chunk.completes]
            if not drafts:
                return next(self._results).fetch([self._table.sampled], seats + later)
            rows = self._drafts.sample(drafts, [self._seats[c.sequence] for c in drafts])
            behind = range(self._table.seats, self._table.seats + len(rows))
            sampled = [self._table.sampled, rows]
            return next(self._results).fetch(sampled, [*seats, *behind, *later])

    @torch.inference_mode()
    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        with fatal_errors(self._device):
            arrays = prompt_arrays(chunks, self.config.heads, self._caches[0])
            logits = self.forward(PromptTensors(arrays, self._device).batch())
            complete: Array = logits.cpu().numpy()[[chunk.completes for chunk in chunks]]
            return complete

    @torch.inference_mode()
    def trace(self, tokens: PySequence[int], layer: int, head: int) -> TracedPass:
        with fatal_errors(self._device):
            return self._architecture.trace(torch.tensor(tokens), layer, head)

    @torch.inference_mode()
    def release(self, sequence: Sequence) -> None:
        seat = self._seats.pop(sequence, None)
        if seat is not None:
            self._table.leave(seat)
            heapq.heappush(self._free_seats, seat)

    def read_blocks(self, blocks: list[int]) -> Array:
        with fatal_errors(self._device):
            return cache_blocks.read(self._caches, blocks)

    def write_blocks(self, blocks: list[int], array: Array) -> None:
        with fatal_errors(self._device):
            cache_blocks.write(self._caches, blocks, array)

    def preparing(self) -> Iterator[float]:
        """Choose ways for products, capture prompts and decodes, and run both once: a minute the
        first time on a machine, when kernels are compiled and measured; then seconds."""
        gc.collect()
        gc.freeze()  # each capture collects garbage: over what there is now, 0.2 s
        seats = self._table.seats
        tuned = [rows for rows in _TUNED if rows < 2 * self._step_tokens]
        self._take("cuBLAS", lambda: self._architecture.tune(tuned, seats, self._caches[0]))
        yield 0.3
        captures = self._prompts.capturing(self._step_tokens)
        while self._take("prompt graphs", lambda: next(captures, True)) is None:
            yield 0.5
        sizes = [s for s in _SIZES if s < seats] + [min(s for s in _SIZES if s >= seats)]
        for size in sizes:
            self._take("decode graphs", partial(self._graph, min(size, seats)))
            yield 0.9
        self._take("decode graphs", self._choose_for_one_token)
        torch.cuda.empty_cache()
        sequence = Sequence(GenerateRequest("warm-up", "", (0,) * 5), 6, 0, 0)
        KVCache(self.blocks).grow(sequence, sequence.limit)
        self.launch((Chunk(sequence, 5),)).token(0)
        self.release(sequence)
        yield 1.0

    def warm_up(self) -> None:
        for _ in self.preparing():
            pass

    def close(self) -> None:
        """Without waiting for a collection of garbage: the graphs and this refer to each other."""
        torch.cuda.synchronize(self._device)
        vars(self).clear()
        torch.cuda.empty_cache()

    def _take(self, name: str, work: Callable[[], _Result]) -> _Result:
        """Do a piece of work, and keep account of the memory that it takes for good."""
        with torch.inference_mode(), self._memory.entry(name):
            return work()

    def _layer_cache(self) -> CacheLayer:
        # one block more, where rows that are only padding may write
        shape = (self.blocks + 1, self.config.kv_heads, BLOCK_SIZE, self.config.head_dim)
        k, v = (torch.zeros(shape, dtype=self.dtype, device=self._device) for _ in range(2))
        return CacheLayer(k, v)

    def _seat(self, sequence: Sequence) -> None:
        if sequence in self._seats:
            return
        seat = heapq.heappop(self._free_seats)
        self._seats[sequence] = seat
        prompt = sequence.tokens[: sequence.answer_start]
        output = sequence.tokens[sequence.answer_start :]
        sampling, seed = sequence.request.sampling, sequence.seed
        self._table.join(seat, sampling, seed=seed, prompt=prompt, output=output)

    def _read(self, chunks: list[Chunk]) -> None:
        """Compute pieces of prompts, and sample after those that are complete."""
        arrays = prompt_arrays(chunks, self.config.heads, self._caches[0])
        logits = self._prompts.logits(arrays)
        if any(chunk.completes for chunk in chunks):
            complete = np.array([chunk.completes for chunk in chunks])
            seats = np.array([self._seats[chunk.sequence] for chunk in chunks], np.int32)
            who, known = Packet(self._device, (seats, arrays.lengths * complete)).tensors
            kernels.sample(logits[: len(chunks)], self._table, SampledRows(who, known))

    def _decode(self, decodes: tuple[Chunk, ...]) -> None:
        """One token of each of these sequences."""
        self._place(decodes)
        seats = self._in_rows.seats
        size = max(seats) + 1
        if len(seats) == 1 and self._one_token is not None:
            self._graph(size, alone=True).replay()
        else:
            self._graph(next(s for s in _SIZES if s >= size)).replay()
        self._in_rows.move_on()

    def _place(self, decodes: tuple[Chunk, ...]) -> None:
        """Into the rows: nothing where each sequence goes on, the blocks that were added where some
        have grown, else all."""
        before = self._in_rows
        counts = [len(c.sequence.blocks) for c in decodes]
        positions = [c.sequence.computed for c in decodes]
        if before.decodes != decodes or before.positions != positions:
            seats = [self._seats[c.sequence] for c in decodes]
            self._in_rows = rows = PlacedRows(decodes, seats, positions, counts)
            self._rows.fill(rows.by_seat())
        elif before.counts != counts:
            self._rows.extend(before.grown(counts))

    def _graph(self, size: int, *, alone: bool = False) -> torch.cuda.CUDAGraph:
        """Of a decode of the first `size` rows, or of the last of these alone."""
        size = min(size, self._table.seats)
        key = (size, alone, self._table.layout)
        if key not in self._graphs:
            self._graphs[key] = self._captured(slice(size - 1 if alone else 0, size), alone=alone)
        return self._graphs[key]

    def _captured(self, rows: slice, *, alone: bool) -> torch.cuda.CUDAGraph:
        before = self._rows.save()
        self._rows.clear()
        graph, _ = captured(lambda: self._step(rows, alone=alone), self._pool)
        self._rows.restore(before)
        return graph

    def _step(self, rows: slice, *, alone: bool) -> None:
        """A decode of some rows: every tensor stays where it is."""
        r, one, token = self._rows, self._one_token, self._table.sampled[rows]
        if alone and one is not None:
            logits = one.run(token, r.positions[rows], r.block_tables[rows.start])
        else:
            logits = self._logits(rows)
        kernels.sample(logits, self._table, r.sampled_rows(rows))

    def _logits(self, rows: slice) -> torch.Tensor:
        r, size = self._rows, rows.stop - rows.start
        tables, lengths = r.block_tables[rows], r.context_lens[rows]
        attention = AttentionBatch(tables, lengths, tuple(range(size + 1)), size)
        where = (r.positions[rows], r.slots[rows])
        batch = ForwardBatch(r.ids[rows], *where, attention, None, self._table.sampled)
        return self.forward(batch)

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """fp32: the logits that the batch asks for; keys and values go to the cache."""
        return self._architecture.forward(self._with_spans(batch), self._caches)

    def _with_spans(self, batch: ForwardBatch) -> ForwardBatch:
        """Contexts are cut once for all layers, where kernels on a GPU want it."""
        attention = batch.attention
        if not attention.decodes or not attention.context_lens.is_cuda:
            return batch
        lengths = attention.context_lens[: attention.decodes]
        heads, cache = self.config.heads, self._caches[0]
        spans = kernels.decode_spans(lengths, attention.block_tables, heads, cache)
        return replace(batch, attention=replace(attention, spans=spans))

    def _choose_for_one_token(self) -> None:
        """One kernel or one for each op: whichever is faster here, for this model."""
        if self._one_token is None:
            return
        ways = {"one kernel": self._graph(1, alone=True), "a kernel an op": self._graph(1)}
        self.one_token_ms = {name: milliseconds(graph) for name, graph in ways.items()}
        if min(self.one_token_ms, key=self.one_token_ms.__getitem__) != "one kernel":
            self._one_token = None
