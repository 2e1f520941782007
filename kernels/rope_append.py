"""rope_append: rotate queries and keys by their positions, put keys and values into the cache.

Rotary embedding (Su et al., 2021) in the "rotate half" layout of Hugging Face's Llama: element i
of a head is paired with element i + D/2.
"""

from __future__ import annotations

import torch

from kernels.cache_layer import CacheLayer
from kernels.cpu import rope_append as cpu
from kernels.shapes import check_shapes


def rope_append(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache: CacheLayer, slots: torch.Tensor
) -> torch.Tensor:
    """qkv fp32[T, (Hq + 2·Hkv)·D] (queries, keys, values); cos and sin fp32[T, D/2] of each
    token's position; slots int64[T]. Returns the rotated queries, fp32[T, Hq, D]; keys and values
    are written to their slots."""
    sizes = check_shapes(
        "rope_append", "qkv[T W] cos[T D/2] sin[T D/2] slots[T]", qkv, cos, sin, slots
    )
    heads = sizes["W"] // cache.head - 2 * cache.kv_heads
    if 2 * sizes["D/2"] != cache.head or heads < 1 or sizes["W"] % cache.head:
        raise ValueError(
            f"rope_append: qkv of width {sizes['W']} and cos of width {sizes['D/2']} do not fit "
            f"a cache of {cache.kv_heads} heads of size {cache.head}"
        )
    q = qkv.new_empty(sizes["T"], heads, cache.head)
    cpu.rope_append(
        qkv.numpy(),
        cos.numpy(),
        sin.numpy(),
        cache.k_array,
        cache.v_array,
        slots.numpy(),
        q.numpy(),
    )
    return q


def reference(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache: CacheLayer, slots: torch.Tensor
) -> torch.Tensor:
    """The same in plain torch, in qkv's own precision."""
    heads = qkv.view(qkv.shape[0], -1, cache.head)
    groups = [heads.shape[1] - 2 * cache.kv_heads, cache.kv_heads, cache.kv_heads]
    q, k, v = torch.split(heads, groups, dim=1)
    block, offset = slots // cache.block_size, slots % cache.block_size
    cache.k[block, :, offset] = _rotate(k, cos, sin).to(cache.k.dtype)
    cache.v[block, :, offset] = v.to(cache.v.dtype)
    return _rotate(q, cos, sin)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)
