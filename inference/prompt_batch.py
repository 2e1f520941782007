"""Pieces of prompts, laid side by side for a GPU: as arrays on the host, as tensors over there."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as PySequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import kernels
from inference.batch import ForwardBatch
from inference.device_buffers import Packet
from inference.kv_cache import BLOCK_SIZE
from inference.runner import block_tables
from inference.scheduler import Chunk
from inference.sequence import Sequence
from kernels import AttentionBatch, CacheLayer

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class PromptArrays:
    """T tokens of S sequences. ids, positions, slots, owners int64[T] (owners: whose they are);
    tables int32[S, W], lengths int32[S], starts int32[S + 1], tiles int32[n, 2] as AttentionBatch
    has them; last int64[S], of each sequence the last token in here."""

    ids: Array
    positions: Array
    slots: Array
    owners: Array
    tables: Array
    lengths: Array
    starts: Array
    tiles: Array
    last: Array

    @classmethod
    def empty(cls) -> PromptArrays:
        wide, narrow = np.zeros(0, np.int64), np.zeros(0, np.int32)
        pairs = np.zeros((0, 2), np.int32)
        return cls(wide, wide, wide, wide, pairs, narrow, np.zeros(1, np.int32), pairs, wide)

    def __iter__(self) -> Iterator[Array]:
        return (getattr(self, name) for name in self.__slots__)

    @property
    def tokens(self) -> int:
        return self.ids.size

    @property
    def prompts(self) -> int:
        return self.lengths.size

    def padded(self, tokens: int, prompts: int, width: int, tiles: int) -> PromptArrays:
        """To these sizes. Padding is one more sequence, without a context, whose keys and values
        are written nowhere."""
        return PromptArrays(
            _padded(self.ids, tokens, 0),
            _padded(self.positions, tokens, 0),
            _padded(self.slots, tokens, -1),
            _padded(self.owners, tokens, prompts),
            np.pad(
                self.tables, ((0, prompts + 1 - self.prompts), (0, width - self.tables.shape[1]))
            ),
            _padded(self.lengths, prompts + 1, 0),
            _padded(self.starts, prompts + 2, self.tokens),
            np.concatenate(
                [self.tiles, np.full((tiles - len(self.tiles), 2), (prompts, 0), np.int32)]
            ),
            _padded(self.last, prompts, 0),
        )


def prompt_arrays(chunks: PySequence[Chunk], query_heads: int, cache: CacheLayer) -> PromptArrays:
    """Of pieces that are about to be computed."""
    arrays = laid_out(chunks)
    tiles = kernels.prefill_tiles(tuple(arrays.starts.tolist()), 0, query_heads, cache)
    return replace(arrays, tiles=tiles.numpy())


def laid_out(chunks: PySequence[Chunk]) -> PromptArrays:
    """The same, without tiles."""
    positions = [c.sequence.computed + np.arange(c.size) for c in chunks]
    slots = [_slots(c.sequence, p) for c, p in zip(chunks, positions, strict=True)]
    ids = [np.array(chunk.tokens) for chunk in chunks]
    lengths = [chunk.size for chunk in chunks]
    starts = np.cumsum([0, *lengths], dtype=np.int32)
    tables, contexts = block_tables(chunks)
    return PromptArrays(
        np.concatenate(ids),
        np.concatenate(positions),
        np.concatenate(slots),
        np.repeat(np.arange(len(chunks)), lengths),
        tables,
        contexts,
        starts,
        np.zeros((0, 2), np.int32),
        starts[1:].astype(np.int64) - 1,
    )


class PromptTensors:
    """PromptArrays on a GPU, which can be written anew with others of the same sizes."""

    def __init__(self, arrays: PromptArrays, device: torch.device) -> None:
        self._packet = Packet(device, arrays)

    def write(self, arrays: PromptArrays) -> None:
        self._packet.write(arrays)

    def batch(self) -> ForwardBatch:
        """All logits that are asked for are those of each sequence's last token. Where results must
        not depend on how a prompt is cut, every token is attended to as if it were a decode."""
        ids, positions, slots, _, tables, lengths, starts, tiles, last = self._packet.tensors
        if kernels.products().invariant:
            return replace(self.decodes(), logit_rows=last)
        tokens = ids.numel()
        attention = AttentionBatch(tables, lengths, (0, tokens), 0, starts=starts, tiles=tiles)
        return ForwardBatch(ids, positions, slots, attention, last)

    def decodes(self) -> ForwardBatch:
        """Every token as if it were a decode, and all logits."""
        ids, positions, slots, owners, tables, *_ = self._packet.tensors
        tokens = ids.numel()
        contexts = torch.where(slots < 0, 0, positions + 1).int()
        attention = AttentionBatch(tables[owners], contexts, tuple(range(tokens + 1)), tokens)
        return ForwardBatch(ids, positions, slots, attention, None)


def _slots(sequence: Sequence, positions: Array) -> Array:
    """Where the cache has a sequence's tokens."""
    blocks = np.array(sequence.blocks)
    slots: Array = blocks[positions // BLOCK_SIZE] * BLOCK_SIZE + positions % BLOCK_SIZE
    return slots


def _padded(array: Array, size: int, value: int) -> Array:
    wider: Array = np.full(size, value, array.dtype)
    wider[: array.size] = array
    return wider
