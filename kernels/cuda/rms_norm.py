"""Launches csrc/rms_norm.cu: a block for each row."""

from __future__ import annotations

import torch

from kernels import launch
from kernels.cuda.arguments import check_arguments, check_multiple

# Numbers of a row that a thread has at least: two loads of 16 bytes are under way at once.
_PER_THREAD = 8
_MOST_THREADS = 1024
# A thread keeps its share of a row in registers.
_LARGEST_ROW = 16 * _MOST_THREADS


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """x fp32[T, H], weight fp32[H] -> dtype[T, H]. H: a multiple of 8, at most 16384."""
    rows, size = x.shape
    check_arguments("rms_norm", x=(x, torch.float32), weight=(weight, torch.float32))
    check_multiple("rms_norm", H=(size, 8))
    if size > _LARGEST_ROW:
        raise ValueError(f"rms_norm: H = {size}, at most {_LARGEST_ROW} is supported")
    threads = min(-(-size // _PER_THREAD // 32) * 32, _MOST_THREADS)
    out = x.new_empty(rows, size, dtype=dtype)
    kernel = launch.kernel("rms_norm", "rms_norm", dtype, hidden=size, threads=threads)
    kernel((rows,), (threads,), x, weight, out, eps)
    return out
