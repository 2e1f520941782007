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
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import TypeVar

import numpy as np
import torch

import kernels
from inference import architectures, cache_blocks
from inference.architectures.llama_trace import TracedPass
from inference.batch import ForwardBatch
from inference.compute_check import check_compute
from inference.config import ModelConfig
from inference.decode_graphs import DecodeGraphs
from inference.decode_rows import PlacedRows
from inference.device_buffers import DecodeBuffers, Packet
from inference.device_logprobs import AskedLogprobs
from inference.device_masks import mask_rows, split
from inference.device_tokens import TokenCopy, fatal_errors
from inference.draft_checks import DraftChecks
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.memory_ledger import MemoryLedger
from inference.options import EngineOptions
from inference.prompt_batch import PromptTensors, prompt_arrays
from inference.prompt_graphs import PromptGraphs
from inference.prompt_lookup import DraftCost
from inference.readings import TextReader
from inference.runner import Array, Step
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from inference.weights import TensorSource
from kernels import CacheLayer, SampledRows, SamplingTable

# Of rows, at which products are measured: each stands for what is above half of it.
_TUNED = tuple(2**i for i in range(13))

_Result = TypeVar("_Result")


class CudaRunner(TextReader):
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
        pool = torch.cuda.graph_pool_handle()
        self._prompts = PromptGraphs(self.forward, config.heads, self._caches[0], width, pool)
        self._drafts = DraftChecks(self.forward, self._table, width, self._device, pool)
        self._step_tokens = options.step_tokens
        one_way = kernels.products().may_differ_for_one_row(self.dtype)
        with self._memory.entry("one kernel"):
            one_token = self._architecture.on_gpu(self._caches) if one_way else None
        self._decodes = DecodeGraphs(self.forward, self._table, self._rows, one_token, pool)
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
            decodes, bound = split(chunks[: len(chunks) - len(prompts) - len(drafts)])
            told = AskedLogprobs()
            if prompts or bound:
                self._read([*bound, *prompts], told)
            if decodes:
                self._decode(decodes, told)
            seats = [*self._in_rows.seats] if decodes else []
            seats += [self._seats[chunk.sequence] for chunk in bound]
            later = [self._seats[chunk.sequence] for chunk in prompts if chunk.completes]
            if not drafts:
                return next(self._results).fetch([self._table.sampled], seats + later, told)
            rows = self._drafts.sample(drafts, [self._seats[c.sequence] for c in drafts])
            behind = range(self._table.seats, self._table.seats + len(rows))
            sampled = [self._table.sampled, rows]
            return next(self._results).fetch(sampled, [*seats, *behind, *later], told)

    @torch.inference_mode()
    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        with fatal_errors(self._device):
            logits = self._architecture.forward(self._read_as(chunks), self._caches)
            complete: Array = logits.cpu().numpy()[[chunk.completes for chunk in chunks]]
            return complete

    def _read_as(self, chunks: tuple[Chunk, ...]) -> ForwardBatch:
        arrays = prompt_arrays(chunks, self.config.heads, self._caches[0])
        return self._with_spans(PromptTensors(arrays, self._device).batch())

    def _guarded(self) -> AbstractContextManager[None]:
        return fatal_errors(self._device)

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
        for size in self._decodes.sizes:
            self._take("decode graphs", partial(self._decodes.graph, size))
            yield 0.9
        self.one_token_ms = self._take("decode graphs", self._decodes.choose_for_one_token)
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

    def _read(self, chunks: list[Chunk], told: AskedLogprobs) -> None:
        """Compute pieces of prompts, and sample after those that are complete. What has a grammar
        is read like this token by token, since its logits are masked before they are sampled."""
        for chunk in chunks:
            self._seat(chunk.sequence)
        arrays = prompt_arrays(chunks, self.config.heads, self._caches[0])
        logits = self._prompts.logits(arrays)
        if any(chunk.completes for chunk in chunks):
            complete = np.array([chunk.completes for chunk in chunks])
            seats = np.array([self._seats[chunk.sequence] for chunk in chunks], np.int32)
            who, known = Packet(self._device, (seats, arrays.lengths * complete)).tensors
            for row, chunk in enumerate(chunks):
                top = chunk.sequence.request.logprobs
                if top is not None and chunk.completes:
                    # masks, biases and penalties are written into the logits
                    told.add(int(seats[row]), logits[row].clone(), top)
            mask_rows(logits, [chunk.sequence for chunk in chunks])
            kernels.sample(logits[: len(chunks)], self._table, SampledRows(who, known))

    def _decode(self, decodes: tuple[Chunk, ...], told: AskedLogprobs) -> None:
        """One token of each of these sequences."""
        self._place(decodes)
        tops = self._in_rows.tops
        kept = self._decodes.replay(self._in_rows.seats, keeps=bool(tops))
        for seat, top in tops.items():
            told.add(seat, kept[seat], top)
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
