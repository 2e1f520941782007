"""rms_norm: x / sqrt(mean(x²) + eps) · weight, row by row, in fp32 (Zhang and Sennrich, 2019)."""

from __future__ import annotations

import torch

from kernels.cpu import rms_norm as cpu
from kernels.cpu.jit import as_array
from kernels.shapes import check_shapes


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x fp32[T, H], weight[H] -> fp32[T, H]."""
    check_shapes("rms_norm", x=(x, "T H"), weight=(weight, "H"))
    out = torch.empty_like(x)
    cpu.rms_norm(as_array(x), as_array(weight), eps, as_array(out))
    return out


def reference(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """The same in plain torch, in x's own precision."""
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return x * scale * weight.to(x.dtype)
