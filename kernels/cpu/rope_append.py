"""Rotate q and k, write k and v to their cache slots: (Hq + 2·Hkv)·D numbers in and out a token."""

from __future__ import annotations

from typing import Any

from kernels.cpu.jit import device, jit, narrow


@device
def _rotate(x: Any, cos: Any, sin: Any, out: Any) -> None:
    half = cos.shape[0]
    for i in range(half):
        low, high = x[i], x[i + half]
        out[i] = narrow(low * cos[i] - high * sin[i], out[i])
        out[i + half] = narrow(high * cos[i] + low * sin[i], out[i + half])


@jit()
def rope_append(
    qkv: Any, cos: Any, sin: Any, k_cache: Any, v_cache: Any, slots: Any, q: Any
) -> None:
    """Shapes as in the binding; D is even and every slot lies inside the cache."""
    _, kv_heads, block_size, size = k_cache.shape
    heads = q.shape[1]
    for t in range(qkv.shape[0]):
        block, offset = slots[t] // block_size, slots[t] % block_size
        row = qkv[t]
        for h in range(heads):
            _rotate(row[h * size : (h + 1) * size], cos[t], sin[t], q[t, h])
        for h in range(kv_heads):
            start = (heads + h) * size
            _rotate(row[start : start + size], cos[t], sin[t], k_cache[block, h, offset])
            start += kv_heads * size
            target = v_cache[block, h, offset]
            for i in range(size):
                target[i] = narrow(row[start + i], target[i])
