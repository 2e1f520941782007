"""rms_norm: x / sqrt(mean(x²) + eps) · weight, row by row, in fp32 (Zhang and Sennrich, 2019)."""

from __future__ import annotations

import torch

from kernels.cpu import rms_norm as cpu
from kernels.cpu.jit import as_array
from kernels.cuda import rms_norm as cuda
from kernels.shapes import check_shapes


class Norm:
    """The weight fp32[H] and eps of one norm, made ready once for a device (by default the
    weight's own). size is H; array is for the CPU's kernels, and only there."""

    __slots__ = ("array", "eps", "size", "weight")

    def __init__(
        self, weight: torch.Tensor, eps: float, device: torch.device | str | None = None
    ) -> None:
        check_shapes("norm", "weight[H]", weight)
        self.weight = weight.to(device or weight.device, torch.float32)
        self.eps, self.size = eps, weight.shape[0]
        if not self.weight.is_cuda:
            self.array = as_array(self.weight)


def rms_norm(x: torch.Tensor, norm: Norm, dtype: torch.dtype | None = None) -> torch.Tensor:
    """x fp32[T, H] -> dtype[T, H]. dtype is x's by default, and on the CPU always."""
    check_shapes("rms_norm", "x[T H] weight[H]", x, norm.weight)
    if x.is_cuda:
        return cuda.rms_norm(x, norm.weight, norm.eps, dtype or x.dtype)
    out = torch.empty_like(x)
    cpu.rms_norm(x.numpy(), norm.array, norm.eps, out.numpy())
    return out


def reference(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The same in plain torch, in x's own precision."""
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps)
    return x * scale * norm.weight.to(x.dtype)
