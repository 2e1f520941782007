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


@jit(parallel=True)
def decode(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    block_tables: Any,
    context_lens: Any,
    invariant: Any,
    out: Any,
) -> None:
    """q[S, Hq, D], caches [blocks, Hkv, block size, D], block_tables[>=S, blocks],
    context_lens[>=S] of at least 1, out[>=S, Hq, D]. invariant: always the parallel loop, since two
    loops that are compiled apart need not round alike."""
    kv_heads = k_cache.shape[1]
    group = q.shape[1] // kv_heads
    work = 0  # written out, since Numba would make a parallel loop of a sum
    for i in range(q.shape[0]):
        work += context_lens[i] * q.shape[1] * q.shape[2]
    if work < PARALLEL_WORK and not invariant:
        for i in range(q.shape[0] * kv_heads):
            s, h = divmod(i, kv_heads)
            rows = slice(h * group, (h + 1) * group)
            attend(q[s][rows], k_cache, v_cache, block_tables[s], context_lens[s], h, out[s][rows])
    else:
        for job in prange(q.shape[0] * kv_heads):
            s, h = divmod(np.int64(job), kv_heads)
            rows = slice(h * group, (h + 1) * group)
            attend(q[s][rows], k_cache, v_cache, block_tables[s], context_lens[s], h, out[s][rows])


@device
def attend(q: Any, k_cache: Any, v_cache: Any, table: Any, context: Any, h: Any, out: Any) -> None:
    """One sequence and the query heads q[G, D] of KV head h: out[G, D]."""
    group, size = q.shape
    block_size = k_cache.shape[2]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    scores = np.empty((group, context), np.float32)
    row = np.empty(size, np.float32)
    for j in range(context):
        _widen_row(k_cache[table[j // block_size], h, j % block_size], row)
        for g in range(group):
            scores[g, j] = _dot(q[g], row) * scale
    for g in range(group):
        _softmax(scores[g])
        out[g] = 0
    for j in range(context):
        _widen_row(v_cache[table[j // block_size], h, j % block_size], row)
        for g in range(group):
            _add_scaled(out[g], scores[g, j], row)


@device
def _widen_row(stored: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        out[i] = widen(stored[i])


@device
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@device
def _add_scaled(out: Any, factor: Any, row: Any) -> None:
    for i in range(row.shape[0]):
        out[i] += factor * row[i]


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
