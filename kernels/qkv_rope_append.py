"""qkv_rope_append: from the residual stream to rotated queries, keys and values in the cache: norm,
product, rotation. On CUDA one kernel where there are few rows."""

from __future__ import annotations

import torch

from kernels.cache_layer import CacheLayer
from kernels.cuda import matmul_transb as cuda
from kernels.matmul_transb import Matrices, matmul_transb
from kernels.rms_norm import Norm
from kernels.rope_append import Rotary, rope_append


def qkv_rope_append(
    hidden: torch.Tensor,
    qkv: Matrices,
    norm: Norm,
    rotary: Rotary,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    """hidden fp32[T, H], positions and slots int64[T]. Returns the queries [T, Hq, D] and writes
    keys and values to their slots, as rope_append does."""
    if hidden.is_cuda:
        return cuda.qkv_rope_append(
            hidden, qkv, norm, rotary.cos, rotary.sin, positions, cache, slots
        )
    return rope_append(matmul_transb(hidden, qkv, norm=norm), rotary, positions, cache, slots)
