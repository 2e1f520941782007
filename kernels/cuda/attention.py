"""Launches csrc/attention_decode.cu and csrc/attention_prefill.cu: geometry, tiles and scratch."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kernels import launch
from kernels.cache_layer import CacheLayer
from kernels.cuda.arguments import check_arguments, check_multiple
from kernels.product_choice import products

BLOCK_SIZE = 16
LARGEST_HEAD = 256
# Decode: warps of a block, the shortest span that they share, and the most spans of a context.
WARPS = 8
SPAN = WARPS * BLOCK_SIZE
FAN = 32
# The most sequences of a launch, and where spans are fixed, which then take more scratch memory.
MAX_SEQUENCES = 512
_MAX_FIXED = 128
# Where spans are not fixed: the cache blocks that a warp has of one at least, and about how many
# spans it has where there is more to read. With fewer, more is merged than is won by ending at the
# same time; 256 readers of 150 tokens take 18.9 us instead of 29.6 on an H100.
_LEAST = 16
_ROUNDS = 3
_RESERVED_BYTES = 1024  # of shared memory, by the system and by what a kernel has beside its tiles


@dataclass(frozen=True, slots=True)
class PrefillShape:
    """A block's tile: warps · bands · 16 rows of queries against keys at a time."""

    warps: int
    bands: int
    keys: int

    @property
    def rows(self) -> int:
        return self.warps * self.bands * 16

    def tokens(self, group: int) -> int:
        return self.rows // group

    def shared_bytes(self, head: int) -> int:
        """In 16 bit: the queries, and two stages of keys and values."""
        return 2 * (self.rows + 4 * self.keys) * (head + 8)


# In the order of preference; the later ones need less shared memory.
_NARROW = (PrefillShape(4, 2, 64), PrefillShape(4, 2, 32))
_WIDE = (PrefillShape(4, 1, 32), PrefillShape(2, 1, 32))


@functools.cache
def prefill_shape(head: int, device: torch.device) -> PrefillShape:
    """Which tile a GPU computes heads of this size in."""
    properties: Any = torch.cuda.get_device_properties(device)
    room = properties.shared_memory_per_block_optin
    shapes = _NARROW if head <= 128 else _WIDE
    fitting = (s for s in shapes if s.shared_bytes(head) + _RESERVED_BYTES <= room)
    return next(fitting, shapes[-1])


def prefill_tiles(
    query_starts: Sequence[int], decodes: int, group: int, head: int, device: torch.device
) -> list[tuple[int, int]]:
    """(sequence, first of its query tokens) for each tile of the sequences from `decodes` on: those
    with the longest contexts first within a sequence, for they take longest."""
    tokens = prefill_shape(head, device).tokens(group)
    if not tokens:
        raise ValueError(
            f"attention: {group} query heads share a key/value head, expected at most "
            f"{prefill_shape(head, device).rows} for heads of size {head}"
        )
    counts = [end - start for start, end in itertools.pairwise(query_starts)]
    return [
        (i, first)
        for i in range(decodes, len(counts))
        for first in reversed(range(0, counts[i], tokens))
    ]


def check(q: torch.Tensor, cache: CacheLayer, **integers: torch.Tensor) -> None:
    """Raises ValueError for what the kernels cannot compute or would read as garbage."""
    check_multiple("attention", D=(cache.head, 16))
    if cache.head > LARGEST_HEAD or cache.block_size != BLOCK_SIZE:
        raise ValueError(
            f"attention: a cache of heads of size {cache.head} in blocks of {cache.block_size}, "
            f"expected at most {LARGEST_HEAD} and blocks of {BLOCK_SIZE}"
        )
    check_arguments(
        "attention",
        q=(q, q.dtype),
        k_cache=(cache.k, q.dtype),
        v_cache=(cache.v, q.dtype),
        **{name: (tensor, torch.int32) for name, tensor in integers.items()},
    )


@dataclass(frozen=True, slots=True)
class DecodeShape:
    """How decodes of a model are launched. rows: sequences of a launch; grid: its blocks; tasks:
    the most that it has; heads: query heads of a task; units: tasks of a span."""

    kernel: launch.Kernel
    cut: launch.Kernel
    heads: int
    units: int
    rows: int
    grid: int
    tasks: int


def _decode_shape(cache: CacheLayer, query_heads: int, sequences: int, width: int) -> DecodeShape:
    group, fixed = query_heads // cache.kv_heads, products().invariant
    kernel, cut, heads, blocks = _decode_kernels(cache.k.dtype, cache.head, group)
    units = cache.kv_heads * -(-group // 8)
    rows = min(sequences, _MAX_FIXED if fixed else MAX_SEQUENCES)
    device = torch.cuda.get_device_properties(cache.k.device)
    tasks = rows * min(-(-width // WARPS), FAN) * units
    grid = min(tasks, blocks * device.multi_processor_count)
    if not fixed:
        tasks = min(tasks, _ROUNDS * grid + rows * units)
    return DecodeShape(kernel, cut, heads, units, rows, grid, tasks)


def decode_spans(
    context_lens: torch.Tensor, width: int, query_heads: int, cache: CacheLayer
) -> torch.Tensor:
    """How the contexts of decodes, int32[S] on the GPU, are cut where block tables are width
    blocks wide: int32[launches, 1 + spans, 4], as csrc/attention_decode.cu says."""
    sequences = context_lens.shape[0]
    shape = _decode_shape(cache, query_heads, sequences, width)
    launches = -(-sequences // shape.rows)
    size = (launches, 1 + -(-shape.tasks // shape.units), 4)
    spans = torch.empty(size, dtype=torch.int32, device=context_lens.device)
    shape.cut(
        (launches,),
        (WARPS * 32,),
        *(spans, context_lens, sequences, shape.rows, size[1], shape.units, shape.grid),
        int(products().invariant),
    )
    return spans


def decode(
    q: torch.Tensor,
    cache: CacheLayer,
    block_tables: torch.Tensor,
    spans: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """q[S, Hq, D] of one token per sequence, block_tables int32[>=S, W], spans from decode_spans
    -> out[S, Hq, D]; a context of 0 is padding and gives zeros."""
    width = block_tables.shape[1]
    shape = _decode_shape(cache, q.shape[1], q.shape[0], width)
    parts, counters = _scratch(q.device, shape.tasks, shape.heads * (cache.head + 4))
    for i, first in enumerate(range(0, q.shape[0], shape.rows)):
        rows = slice(first, first + shape.rows)
        shape.kernel(
            (shape.grid,),
            (WARPS * 32,),
            *(out[rows], q[rows], cache.k, cache.v, block_tables[rows], spans[i]),
            *(parts, counters, width, cache.kv_heads, _scale(cache.head)),
        )


def prefill(
    q: torch.Tensor,
    cache: CacheLayer,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_starts: torch.Tensor,
    tiles: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """q[T, Hq, D], of which query_starts int32[S + 1] gives each sequence the last tokens of its
    context; tiles int32[n, 2] from prefill_tiles, whose rows of out[T, Hq, D] are written."""
    group = q.shape[1] // cache.kv_heads
    shape = prefill_shape(cache.head, q.device)
    kernel = launch.kernel(
        "attention_prefill",
        "attention_prefill",
        q.dtype,
        shared_bytes=0 if q.dtype == torch.float32 else shape.shared_bytes(cache.head),
        head=cache.head,
        group=group,
        warps=shape.warps,
        bands=shape.bands,
        keys=shape.keys,
        blocks=2,
        tokens=shape.tokens(group),
    )
    kernel(
        (cache.kv_heads, tiles.shape[0]),
        (shape.warps * 32,),
        *(out, q, cache.k, cache.v, block_tables, context_lens, query_starts, tiles),
        *(block_tables.shape[1], _scale(cache.head)),
    )


@functools.cache
def _decode_kernels(
    dtype: torch.dtype, head: int, group: int
) -> tuple[launch.Kernel, launch.Kernel, int, int]:
    """Both kernels, how many query heads a task has, and how many blocks a multiprocessor holds."""
    heads = -(-group // -(-group // 8))
    if dtype == torch.float32:
        room, blocks = 4 * heads * (head + 4), 1
    else:
        room, blocks = 4 * BLOCK_SIZE * (head + 8), 3 if head <= 64 else 2 if head <= 128 else 1
    constants = {"head": head, "group": group, "heads": heads, "warps": WARPS, "blocks": blocks}
    constants |= {"fan": FAN, "rounds": _ROUNDS, "least": _LEAST}
    of_file = functools.partial(launch.kernel, "attention_decode", dtype=dtype, **constants)
    return (
        of_file("attention_decode", shared_bytes=WARPS * room),
        of_file("attention_spans"),
        heads,
        blocks,
    )


def _scale(head: int) -> float:
    """Of scores, and from powers of e to powers of 2."""
    return math.log2(math.e) / math.sqrt(head)


_held: dict[torch.device, list[tuple[torch.Tensor, torch.Tensor]]] = {}


def _scratch(device: torch.device, tasks: int, part: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Parts and counters for all launches of a device, which follow one another on one stream.
    A graph that was captured keeps the addresses: what has become too small is kept for it."""
    held = _held.setdefault(device, [])
    if not held or held[-1][0].numel() < tasks * part or held[-1][1].numel() < tasks:
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"attention: {tasks} tasks need scratch memory, which cannot be made while a graph "
                "is captured: run the same shapes once before"
            )
        parts = torch.empty(tasks * part, dtype=torch.float32, device=device)
        held.append((parts, torch.zeros(tasks, dtype=torch.int32, device=device)))
    return held[-1]
