"""Runs a model on the CPU: a plan of chunks goes down, tokens come up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from collections.abc import Sequence as PySequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import kernels
from inference import architectures, cache_blocks, plugins, sampler
from inference.architectures.llama_trace import TracedPass
from inference.batch import ForwardBatch, per_token
from inference.compute_check import check_compute
from inference.config import ModelConfig
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.logprobs import TokenLogprobs
from inference.options import EngineOptions
from inference.prompt_lookup import DraftCost
from inference.readings import TextReader
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
        """What it sampled in the index-th row of those that its chunks want (`Chunk.rows`), waited
        for where it is not there yet. FAILED: the logits overflowed, or its
        grammar has failed. Of a draft, rows are of use as
        long as those before them sampled what was guessed, and are asked for one by one."""

    def logprobs(self, index: int, token: int) -> TokenLogprobs:
        """What is told of the token that it sampled there, where the request asks for it."""


class Runner(Protocol):
    """Owns the weights and the memory of the KV cache, `blocks` blocks of BLOCK_SIZE tokens.

    device_name: of the processor or the GPU, in its maker's words.
    steps_ahead: how many steps may be launched before the tokens of the last one are known, 0 or 1.
    """

    config: ModelConfig
    device: str
    device_name: str
    dtype: torch.dtype
    blocks: int
    steps_ahead: int
    draft_cost: DraftCost

    def launch(self, chunks: tuple[Chunk, ...]) -> Step:
        """Compute the chunks, put their keys and values into the cache, and sample. Raises
        DeviceLost where nothing more can be computed."""

    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        """`launch` without the sampling, waited for. fp32[L, V] on the host, after each chunk that
        completes its sequence's known tokens, and after each token of its draft, in order."""

    def score(self, chunk: Chunk, tokens: PySequence[int], top: int) -> list[TokenLogprobs]:
        """Compute a chunk, waited for, and say how likely `tokens` were: those that came after its
        tokens, of which the last one may have none. Raises DeviceLost."""

    def state_sums(self, chunks: tuple[Chunk, ...]) -> torch.Tensor:
        """Compute the chunks, waited for. fp32[S, H] on the host: of each the sum of its tokens'
        last states, after the last norm. Raises DeviceLost."""

    def residual(self, chunk: Chunk) -> Iterator[torch.Tensor]:
        """Compute a chunk, and give fp32[T, H] on the host: its embedding, then the residual stream
        after each half layer."""

    def trace(self, tokens: PySequence[int], layer: int, head: int) -> TracedPass:
        """One pass over a short text, apart from the cache, waited for. Raises DeviceLost."""

    def release(self, sequence: Sequence) -> None:
        """The sequence is over. One that is not known is ignored."""

    def read_blocks(self, blocks: list[int]) -> Array:
        """What these blocks of the cache hold when the steps that were launched have run, waited
        for. uint8[blocks, bytes of a block] on the host, see `inference.cache_blocks`. Raises
        DeviceLost."""

    def write_blocks(self, blocks: list[int], array: Array) -> None:
        """Put into blocks what `read_blocks` gave, before the steps that are launched next. Raises
        DeviceLost."""

    def preparing(self) -> Iterator[float]:
        """Have kernels compiled before somebody waits for them, a piece of the work each time: the
        share that is done."""

    def warm_up(self) -> None:
        """All of `preparing` at once."""

    def close(self) -> None:
        """Give back all memory. Nothing may be asked of it any more."""


@dataclass(frozen=True, slots=True)
class _Computed:
    """A step of the CPU: the logits are there, tokens are sampled when they are asked for."""

    logits: Array
    sequences: tuple[Sequence, ...]
    sample: Callable[..., int]

    def token(self, index: int) -> int:
        row, sequence = self.logits[index], self.sequences[index]
        matcher = sequence.matcher
        mask = matcher.mask() if matcher else None
        if not np.isfinite(row.max()) or (matcher and matcher.failure):
            return FAILED
        return self.sample(
            sampler.masked(row, mask),
            sequence.request.sampling,
            prompt=sequence.tokens[: sequence.answer_start],
            output=sequence.tokens[sequence.answer_start :],
            seed=sequence.seed,
        )

    def logprobs(self, index: int, token: int) -> TokenLogprobs:
        top = self.sequences[index].request.logprobs
        assert top is not None
        return sampler.logprobs(self.logits[index], token, top)


class ModelRunner(TextReader):
    """See `Runner`."""

    device = "cpu"
    steps_ahead = 0
    # one token alone has a kernel of its own, and products compute as long as they read
    draft_cost = DraftCost(row=0.25, step=0.6)

    def __init__(self, directory: Path, options: EngineOptions) -> None:
        """Raises ModelUnavailable and its subclasses."""
        self.config = ModelConfig.load(directory, options.context_tokens)
        self.blocks = -(-options.kv_tokens // BLOCK_SIZE)
        self.device_name = processor()
        weights = Weights(directory, stored_as(options.dtype))
        self.dtype = weights.dtype
        check_compute(options, self.dtype, "cpu")
        self._architecture = architectures.build(
            self.config, weights, torch.device("cpu"), options.plugins
        )
        self._caches = [self._layer_cache() for _ in range(self.config.layers)]
        own = options.sampler
        self._sample = plugins.load(plugins.SAMPLERS, own) if own else sampler.sample
        kernels.set_threads(options.threads)
        if options.tuning_file and self.dtype != torch.float32:
            self._tune(options, options.tuning_file)

    def launch(self, chunks: tuple[Chunk, ...]) -> Step:
        of_rows = tuple(chunk.sequence for chunk in chunks for _ in range(chunk.rows))
        return _Computed(self.run(chunks), of_rows, self._sample)

    @torch.inference_mode()
    def trace(self, tokens: PySequence[int], layer: int, head: int) -> TracedPass:
        return self._architecture.trace(torch.tensor(tokens), layer, head)

    def release(self, sequence: Sequence) -> None:
        pass

    @torch.inference_mode()
    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        return self.forward(_batch(chunks)).numpy()

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """fp32[L, V]: the logits of the rows that the batch asks for."""
        return self._architecture.forward(batch, self._caches)

    def _read_as(self, chunks: tuple[Chunk, ...]) -> ForwardBatch:
        return _batch(chunks)

    def read_blocks(self, blocks: list[int]) -> Array:
        return cache_blocks.read(self._caches, blocks)

    def write_blocks(self, blocks: list[int], array: Array) -> None:
        cache_blocks.write(self._caches, blocks, array)

    def preparing(self) -> Iterator[float]:
        """Run a few tokens through an empty cache: half a minute the first time on a machine,
        when kernels are compiled; then they are read from disk."""
        sequence = Sequence(GenerateRequest("warm-up", "", (0,) * 5), 6, 0, 0)
        KVCache(self.blocks).grow(sequence, sequence.limit)
        for share, length in ((0.5, 5), (1.0, 1)):
            self.run((Chunk(sequence, length),))
            sequence.computed += length
            sequence.tokens.append(0)
            yield share

    def warm_up(self) -> None:
        for _ in self.preparing():
            pass

    def close(self) -> None:
        vars(self).clear()

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
    rows: list[int] = []
    for chunk in chunks:
        sequence, first = chunk.sequence, chunk.sequence.computed
        span = range(first, first + chunk.size)
        tokens += chunk.tokens
        positions += span
        slots += [sequence.blocks[p // BLOCK_SIZE] * BLOCK_SIZE + p % BLOCK_SIZE for p in span]
        rows += range(len(tokens) - chunk.rows, len(tokens))
    return ForwardBatch(
        token_ids=torch.tensor(tokens),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        attention=_attention(chunks),
        logit_rows=torch.tensor(rows, dtype=torch.int64),
    )


def _attention(chunks: tuple[Chunk, ...]) -> AttentionBatch:
    """Those with one token that come first are decodes, and so is each token of a draft."""
    tables, lengths = block_tables(chunks)
    counts = [chunk.size for chunk in chunks]
    first = len(chunks)
    if not kernels.products().invariant:
        # a piece of a prompt may be one token long too, and stands behind longer ones
        first = len(list(takewhile(lambda chunk: chunk.draft or chunk.size == 1, chunks)))
    decodes = sum(counts[:first])
    if decodes > first:
        spread = per_token(tables[:first], lengths[:first], counts[:first])
        tables = np.concatenate([spread[0], tables[first:]])
        lengths = np.concatenate([spread[1], lengths[first:]])
        counts = [1] * decodes + counts[first:]
    starts = tuple(accumulate(counts, initial=0))
    return AttentionBatch(torch.from_numpy(tables), torch.from_numpy(lengths), starts, decodes)


def block_tables(chunks: PySequence[Chunk]) -> tuple[Array, Array]:
    """Block tables int32[S, blocks] and context lengths int32[S]."""
    lengths = [chunk.sequence.computed + chunk.size for chunk in chunks]
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
