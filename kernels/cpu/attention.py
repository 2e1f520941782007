"""Attention of one query token per sequence over its paged context.

Reads every live key and value once: 2 · context · Hkv · D stored numbers a sequence. The heads of
a group share each key and value row while it is in the first cache level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.jit import device, exp_nonpositive, jit, widen

# Below this many multiply-adds a parallel loop costs more than it saves.
PARALLEL_WORK = 300_000


def decode(
    q: Any, k_cache: Any, v_cache: Any, block_tables: Any, context_lens: Any, out: Any
) -> None:
    """q[S, Hq, D], caches [blocks, Hkv, block size, D], block_tables[>=S, blocks],
    context_lens[>=S] of at least 1, out[>=S, Hq, D]."""
    work = int(context_lens[: q.shape[0]].sum()) * q.shape[1] * q.shape[2]
    kernel = _decode_parallel if work > PARALLEL_WORK else _decode_serial
    kernel(q, k_cache, v_cache, block_tables, context_lens, out)


@jit(parallel=True)
def _decode_parallel(
    q: Any, k_cache: Any, v_cache: Any, block_tables: Any, context_lens: Any, out: Any
) -> None:
    kv_heads = k_cache.shape[1]
    group = q.shape[1] // kv_heads
    for job in prange(q.shape[0] * kv_heads):
        s, h = divmod(np.int64(job), kv_heads)
        heads = slice(h * group, (h + 1) * group)
        _one(q[s, heads], k_cache, v_cache, block_tables[s], context_lens[s], h, out[s, heads])


@jit()
def _decode_serial(
    q: Any, k_cache: Any, v_cache: Any, block_tables: Any, context_lens: Any, out: Any
) -> None:
    kv_heads = k_cache.shape[1]
    group = q.shape[1] // kv_heads
    for s in range(q.shape[0]):
        for h in range(kv_heads):
            heads = slice(h * group, (h + 1) * group)
            _one(q[s, heads], k_cache, v_cache, block_tables[s], context_lens[s], h, out[s, heads])


@device
def _one(q: Any, k_cache: Any, v_cache: Any, table: Any, context: Any, h: Any, out: Any) -> None:
    """One sequence and one KV head h: q[group, D], out[group, D]."""
    group, size = q.shape
    block_size = k_cache.shape[2]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    scores = np.empty((group, context), np.float32)
    row = np.empty(size, np.float32)
    for j in range(context):
        key = k_cache[table[j // block_size], h, j % block_size]
        for i in range(size):
            row[i] = widen(key[i])
        for g in range(group):
            total = np.float32(0)
            for i in range(size):
                total += q[g, i] * row[i]
            scores[g, j] = total * scale
    for g in range(group):
        _softmax(scores[g])
    out[:] = 0
    for j in range(context):
        value = v_cache[table[j // block_size], h, j % block_size]
        for i in range(size):
            row[i] = widen(value[i])
        for g in range(group):
            weight = scores[g, j]
            for i in range(size):
                out[g, i] += weight * row[i]


@device
def _softmax(scores: Any) -> None:
    largest = scores[0]
    for j in range(scores.shape[0]):
        largest = max(largest, scores[j])
    total = np.float32(0)
    for j in range(scores.shape[0]):
        scores[j] = exp_nonpositive(scores[j] - largest)
        total += scores[j]
    for j in range(scores.shape[0]):
        scores[j] /= total
