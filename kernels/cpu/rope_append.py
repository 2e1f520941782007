"""Rotate q and k, write k and v to their cache slots: (Hq + 2·Hkv)·D numbers in and out a token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.jit import device, jit, narrow

# Below this many tokens a parallel loop costs more than it saves.
PARALLEL_TOKENS = 8


@device
def rotate(x: Any, cos: Any, sin: Any, out: Any) -> None:
    """x[D] -> out[D]. The halves are arrays of their own, so that indices are plainly within
    bounds and the loop becomes vectors."""
    half = cos.shape[0]
    low, high = x[:half], x[half:]
    out_low, out_high = out[:half], out[half:]
    for i in range(half):
        out_low[i] = narrow(low[i] * cos[i] - high[i] * sin[i], out_low[i])
        out_high[i] = narrow(high[i] * cos[i] + low[i] * sin[i], out_high[i])


@jit(parallel=True)
def rope_append(
    qkv: Any,
    cos: Any,
    sin: Any,
    positions: Any,
    k_cache: Any,
    v_cache: Any,
    slots: Any,
    invariant: Any,
    q: Any,
) -> None:
    """Shapes as in the binding; D is even, every position lies in the tables and
    every slot inside the cache. invariant: see `kernels.cpu.attention.decode`."""
    if qkv.shape[0] < PARALLEL_TOKENS and not invariant:
        for i in range(qkv.shape[0]):
            at = positions[i]
            _token(qkv[i], cos[at], sin[at], k_cache, v_cache, slots[i], q[i])
    else:
        for task in prange(qkv.shape[0]):
            t = np.int64(task)
            at = positions[t]
            _token(qkv[t], cos[at], sin[at], k_cache, v_cache, slots[t], q[t])


@device
def _token(qkv: Any, cos: Any, sin: Any, k_cache: Any, v_cache: Any, slot: Any, q: Any) -> None:
    _, kv_heads, block_size, size = k_cache.shape
    block, offset = divmod(slot, block_size)
    heads = q.shape[0]
    for h in range(heads):
        rotate(qkv[h * size : (h + 1) * size], cos, sin, q[h])
    for h in range(kv_heads):
        key = (heads + h) * size
        rotate(qkv[key : key + size], cos, sin, k_cache[block, h, offset])
        value = key + kv_heads * size
        store(qkv[value : value + size], v_cache[block, h, offset])


@device
def store(x: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        out[i] = narrow(x[i], out[i])
