"""rope_append: rotate queries and keys by their positions, put keys and values into the cache.

Rotary embedding (Su et al., 2021) in the "rotate half" layout of Hugging Face's Llama: element i
of a head is paired with element i + D/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.cache_layer import CacheLayer
from kernels.cpu import rope_append as cpu
from kernels.cuda import rope_append as cuda
from kernels.product_choice import products
from kernels.shapes import check_shapes


@dataclass(frozen=True, slots=True)
class Rotary:
    """cos and sin of the angles of every position, fp32[P, D/2] each."""

    cos: torch.Tensor
    sin: torch.Tensor


def rope_append(
    qkv: torch.Tensor,
    rotary: Rotary,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    """qkv[T, (Hq + 2·Hkv)·D] (queries, keys, values), fp32 on the CPU, the cache's type on CUDA;
    positions and slots int64[T]. Returns the rotated queries, [T, Hq, D] of the same type; keys
    and values are written to their slots. On CUDA a slot of -1 is written nowhere: rows that fill
    up a captured graph (their positions lie in the table, too)."""
    heads = _query_heads(qkv, rotary, positions, cache, slots)
    if qkv.is_cuda:
        return cuda.rope_append(qkv, rotary.cos, rotary.sin, positions, cache, slots)
    q = qkv.new_empty(qkv.shape[0], heads, cache.head)
    cpu.rope_append(
        qkv.numpy(),
        rotary.cos.numpy(),
        rotary.sin.numpy(),
        positions.numpy(),
        cache.k_array,
        cache.v_array,
        slots.numpy(),
        products().invariant,
        q.numpy(),
    )
    return q


def reference(
    qkv: torch.Tensor,
    rotary: Rotary,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    """The same in plain torch, in qkv's own precision."""
    cos, sin = rotary.cos[positions], rotary.sin[positions]
    heads = qkv.view(qkv.shape[0], -1, cache.head)
    groups = [heads.shape[1] - 2 * cache.kv_heads, cache.kv_heads, cache.kv_heads]
    q, k, v = torch.split(heads, groups, dim=1)
    live = slots >= 0
    block, offset = slots[live] // cache.block_size, slots[live] % cache.block_size
    cache.k[block, :, offset] = _rotate(k, cos, sin)[live].to(cache.k.dtype)
    cache.v[block, :, offset] = v[live].to(cache.v.dtype)
    return _rotate(q, cos, sin)


def _query_heads(
    qkv: torch.Tensor,
    rotary: Rotary,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> int:
    specs = "qkv[T W] cos[P D/2] sin[P D/2] positions[T] slots[T]"
    sizes = check_shapes("rope_append", specs, qkv, rotary.cos, rotary.sin, positions, slots)
    heads = sizes["W"] // cache.head - 2 * cache.kv_heads
    if 2 * sizes["D/2"] != cache.head or heads < 1 or sizes["W"] % cache.head:
        raise ValueError(
            f"rope_append: qkv of width {sizes['W']} and cos of width {sizes['D/2']} do not fit "
            f"a cache of {cache.kv_heads} heads of size {cache.head}"
        )
    return heads


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)
