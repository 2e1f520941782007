"""Runs a model on the CPU: a plan of chunks goes down, tokens come up."""

from __future__ import annotations

import platform
from collections.abc import Sequence as PySequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import kernels
from inference import architectures, sampler
from inference.batch import ForwardBatch, per_token
from inference.compute_check import check_compute
from inference.config import ModelConfig
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.options import EngineOptions
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from inference.weights import Weights, stored_as
from kernels import AttentionBatch, CacheLayer

# Matrices that products are measured on: together more than a cache near a core holds.
_TUNED_ON = 8

Array = np.ndarray[Any, np.dtype[Any]]
FAILED = -1


class Step(Protocol):
    """A step that was launched."""

    def token(self, index: int) -> int:
        """What it sampled for the index-th chunk that completes its sequence, waited for where it
        is not there yet. FAILED: the logits overflowed."""


class Runner(Protocol):
    """Owns the weights and the memory of the KV cache, `blocks` blocks of BLOCK_SIZE tokens.

    steps_ahead: how many steps may be launched before the tokens of the last one are known, 0 or 1.
    """

    config: ModelConfig
    blocks: int
    steps_ahead: int

    def launch(self, chunks: tuple[Chunk, ...]) -> Step:
        """Compute the chunks, put their keys and values into the cache, and sample. Raises
        DeviceLost where nothing more can be computed."""

    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        """`launch` without the sampling, waited for. fp32[L, V] on the host, after each chunk that
        completes its sequence's known tokens, in order."""

    def release(self, sequence: Sequence) -> None:
        """The sequence is over. One that is not known is ignored."""

    def warm_up(self) -> None:
        """Have kernels compiled before somebody waits for them."""


@dataclass(frozen=True, slots=True)
class _Computed:
    """A step of the CPU: the logits are there, tokens are sampled when they are asked for."""

    logits: Array
    sequences: tuple[Sequence, ...]

    def token(self, index: int) -> int:
        row, sequence = self.logits[index], self.sequences[index]
        if not np.isfinite(row.max()):
            return FAILED
        return sampler.sample(
            row,
            sequence.request.sampling,
            prompt=list(sequence.request.prompt_ids),
            output=sequence.output_ids,
            seed=sequence.seed,
        )


class ModelRunner:
    """See `Runner`."""

    steps_ahead = 0

    def __init__(self, directory: Path, options: EngineOptions) -> None:
        """Raises ModelUnavailable and its subclasses."""
        self.config = ModelConfig.load(directory, options.context_tokens)
        self.blocks = -(-options.kv_tokens // BLOCK_SIZE)
        weights = Weights(directory, stored_as(options.dtype))
        self.dtype = weights.dtype
        check_compute(options, self.dtype, "cpu")
        self._architecture = architectures.build(self.config, weights, torch.device("cpu"))
        self._caches = [self._layer_cache() for _ in range(self.config.layers)]
        kernels.set_threads(options.threads)
        if options.tuning_file and self.dtype != torch.float32:
            self._tune(options, options.tuning_file)

    def launch(self, chunks: tuple[Chunk, ...]) -> Step:
        complete = tuple(chunk.sequence for chunk in chunks if chunk.completes)
        return _Computed(self.run(chunks), complete)

    def release(self, sequence: Sequence) -> None:
        pass

    @torch.inference_mode()
    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        return self.forward(_batch(chunks)).numpy()

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """fp32[L, V]: the logits of the rows that the batch asks for."""
        return self._architecture.forward(batch, self._caches)

    def warm_up(self) -> None:
        """Run a few tokens through an empty cache: half a minute the first time on a machine,
        when kernels are compiled; then they are read from disk."""
        sequence = Sequence(GenerateRequest("warm-up", "", (0,) * 5), 6, 0, 0)
        KVCache(self.blocks).grow(sequence, sequence.limit)
        for length in (5, 1):
            self.run((Chunk(sequence, length),))
            sequence.computed += length
            sequence.tokens.append(0)

    def _layer_cache(self) -> CacheLayer:
        shape = (self.blocks, self.config.kv_heads, BLOCK_SIZE, self.config.head_dim)
        return CacheLayer(*(torch.empty(shape, dtype=self.dtype) for _ in range(2)))

    def _tune(self, options: EngineOptions, store: Path) -> None:
        shape = (2 * self.config.intermediate_size, self.config.hidden_size)
        key = f"{processor()}, {options.threads} threads, {self.dtype}, {shape[0]}x{shape[1]}"
        weights = [torch.empty(shape, dtype=self.dtype).normal_(0, 0.05) for _ in range(_TUNED_ON)]
        kernels.tune_products(weights, key, store)


def _batch(chunks: tuple[Chunk, ...]) -> ForwardBatch:
    """The tensors that describe a step."""
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    rows = []
    for chunk in chunks:
        sequence, first = chunk.sequence, chunk.sequence.computed
        span = range(first, first + chunk.length)
        tokens += sequence.tokens[first : first + chunk.length]
        positions += span
        slots += [sequence.blocks[p // BLOCK_SIZE] * BLOCK_SIZE + p % BLOCK_SIZE for p in span]
        if chunk.completes:
            rows.append(len(tokens) - 1)
    return ForwardBatch(
        token_ids=torch.tensor(tokens),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        attention=_attention(chunks),
        logit_rows=torch.tensor(rows, dtype=torch.int64),
    )


def _attention(chunks: tuple[Chunk, ...]) -> AttentionBatch:
    """Those with one token that come first are decodes."""
    tables, lengths = block_tables(chunks)
    counts = [chunk.length for chunk in chunks]
    if kernels.products().invariant:
        tables, lengths = per_token(tables, lengths, counts)
        counts = [1] * sum(counts)
    # a piece of a prompt may be one token long too, and stands behind longer ones
    decodes = len(list(takewhile(lambda count: count == 1, counts)))
    starts = tuple(accumulate(counts, initial=0))
    return AttentionBatch(torch.from_numpy(tables), torch.from_numpy(lengths), starts, decodes)


def block_tables(chunks: PySequence[Chunk]) -> tuple[Array, Array]:
    """Block tables int32[S, blocks] and context lengths int32[S]."""
    lengths = [chunk.sequence.computed + chunk.length for chunk in chunks]
    width = -(-max(lengths) // BLOCK_SIZE)
    table = np.zeros((len(chunks), width), dtype=np.int32)
    for row, chunk in zip(table, chunks, strict=True):
        blocks = chunk.sequence.blocks[:width]
        row[: len(blocks)] = blocks
    return table, np.array(lengths, dtype=np.int32)


def processor() -> str:
    """The processor's name, since a measured choice holds for one kind of processor only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return next((v.strip() for k, v in fields.items() if k.strip() == "model name"), "unknown")
