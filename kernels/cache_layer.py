"""The memory of one layer of a paged KV cache."""

from __future__ import annotations

import torch

from kernels.cpu.jit import as_array
from kernels.shapes import check_shapes


class CacheLayer:
    """Keys and values, [blocks, Hkv, block size, D] each, made ready once. k_array and v_array are
    for the CPU's kernels, and only there.

    A token's slot is block · block size + offset in the block.
    """

    __slots__ = ("block_size", "head", "k", "k_array", "kv_heads", "v", "v_array")

    def __init__(self, k: torch.Tensor, v: torch.Tensor) -> None:
        sizes = check_shapes("cache", "k[B Hkv S D] v[B Hkv S D]", k, v)
        self.k, self.v = k, v
        if not k.is_cuda:
            self.k_array, self.v_array = as_array(k), as_array(v)
        self.kv_heads, self.block_size, self.head = sizes["Hkv"], sizes["S"], sizes["D"]
