"""rope_append: rotate queries and keys by their positions, put keys and values into the cache.

Rotary embedding (Su et al., 2021) in the "rotate half" layout of Hugging Face's Llama: element i
of a head is paired with element i + D/2.
"""

from __future__ import annotations

import torch

from kernels.cpu import rope_append as cpu
from kernels.cpu.jit import as_array
from kernels.shapes import check_shapes


def rope_append(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    slots: torch.Tensor,
) -> torch.Tensor:
    """qkv fp32[T, (Hq + 2·Hkv)·D] (queries, keys, values); cos and sin fp32[T, D/2] of each
    token's position; caches [blocks, Hkv, block size, D]; slots int64[T] = block · size + offset.
    Returns the rotated queries, fp32[T, Hq, D]; keys and values are written to their slots."""
    sizes = check_shapes(
        "rope_append",
        qkv=(qkv, "T W"),
        cos=(cos, "T D/2"),
        sin=(sin, "T D/2"),
        k_cache=(k_cache, "B Hkv S D"),
        v_cache=(v_cache, "B Hkv S D"),
        slots=(slots, "T"),
    )
    head, kv_heads = sizes["D"], sizes["Hkv"]
    q = qkv.new_empty(sizes["T"], sizes["W"] // head - 2 * kv_heads, head)
    cpu.rope_append(*map(as_array, (qkv, cos, sin, k_cache, v_cache, slots, q)))
    return q


def reference(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    slots: torch.Tensor,
) -> torch.Tensor:
    """The same in plain torch."""
    _, kv_heads, block_size, head = k_cache.shape
    heads = qkv.unflatten(-1, (-1, head))
    q, k, v = heads.split([heads.shape[1] - 2 * kv_heads, kv_heads, kv_heads], dim=1)
    block, offset = slots // block_size, slots % block_size
    k_cache[block, :, offset] = _rotate(k, cos, sin).to(k_cache.dtype)
    v_cache[block, :, offset] = v.to(v_cache.dtype)
    return _rotate(q, cos, sin)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)
