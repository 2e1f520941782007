"""Launches csrc/rope_append.cu: a thread for 16 bytes of each half of a head."""

from __future__ import annotations

import torch

from kernels import launch
from kernels.cache_layer import CacheLayer
from kernels.cuda.arguments import check_arguments, check_multiple

# Few, so that a single token is spread over many multiprocessors.
_THREADS = 128


def rope_append(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    """qkv[T, (Hq + 2·Hkv)·D] in the cache's type, cos and sin fp32[P, D/2], positions and slots
    int64[T] -> the same type [T, Hq, D]. D: a multiple of 16."""
    dtype = cache.k.dtype
    check_arguments(
        "rope_append",
        qkv=(qkv, dtype),
        cos=(cos, torch.float32),
        sin=(sin, torch.float32),
        positions=(positions, torch.int64),
        slots=(slots, torch.int64),
        k_cache=(cache.k, dtype),
        v_cache=(cache.v, dtype),
    )
    check_multiple("rope_append", D=(cache.head, 16))
    tokens, heads = qkv.shape[0], qkv.shape[1] // cache.head - 2 * cache.kv_heads
    q = qkv.new_empty(tokens, heads, cache.head)
    kernel = launch.kernel(
        "rope_append",
        "rope_append",
        dtype,
        heads=heads,
        kv_heads=cache.kv_heads,
        head=cache.head,
        block_size=cache.block_size,
    )
    blocks = -(-qkv.numel() * qkv.element_size() // (32 * _THREADS))
    pointers = (qkv, cos, sin, positions, slots, cache.k, cache.v, q)
    kernel((blocks,), (_THREADS,), *pointers, tokens)
    return q
