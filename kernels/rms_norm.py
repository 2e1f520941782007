"""rms_norm: x / sqrt(mean(x²) + eps) · weight, row by row, in fp32 (Zhang and Sennrich, 2019)."""

from __future__ import annotations

import torch

from kernels.cpu import rms_norm as cpu
from kernels.cpu.jit import as_array
from kernels.shapes import check_shapes


class Norm:
    """The weight[H] and eps of one norm, made ready once. size is H."""

    __slots__ = ("array", "eps", "size", "weight")

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        check_shapes("norm", "weight[H]", weight)
        self.weight, self.eps, self.size = weight, eps, weight.shape[0]
        self.array = as_array(weight.float())


def rms_norm(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    """x fp32[T, H] -> fp32[T, H]."""
    check_shapes("rms_norm", "x[T H] weight[H]", x, norm.weight)
    out = torch.empty_like(x)
    cpu.rms_norm(x.numpy(), norm.array, norm.eps, out.numpy())
    return out


def reference(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The same in plain torch, in x's own precision."""
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps)
    return x * scale * norm.weight.to(x.dtype)
