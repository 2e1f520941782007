"""matmul_transb: x · wᵀ, the product that is nearly all of a language model's work.

Weights stay as they are stored. On CUDA see `kernels/cuda/matmul_transb.py`. On the CPU, which way
is fastest depends on the number of rows M:
a few rows are bound by reading w (own kernels, 16-bit weights read once, fp32 sums); many rows
are bound by arithmetic (w widened into scratch that all products share, then torch's fp32
product). `product_rows.limit` holds the M at which this machine changes over. fp32 weights go to
torch. Where `product_choice.products` are to be invariant, all go to the kernel for several rows,
which sums every row alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from kernels import product_rows
from kernels.cpu import matmul_transb as cpu
from kernels.cpu.jit import as_array
from kernels.cuda import matmul_transb as cuda
from kernels.cuda.upload import upload
from kernels.product_choice import products
from kernels.rms_norm import Norm, rms_norm
from kernels.shapes import check_shapes
from kernels.silu_mul import silu_mul

_NO_ROW = torch.empty(0).numpy()
_NO_ROWS = torch.empty(0, 0).numpy()
_scratch = torch.empty(0)


class Matrices:
    """Weight matrices [N, K] of one precision that share their input, made ready once for a device
    (by default their own).

    inputs is K; outputs is the sum of N: the products stand side by side. On CUDA tensors is a
    single one, `weight`; arrays are for the CPU's kernels, and empty elsewhere.
    """

    __slots__ = ("arrays", "inputs", "is_wide", "outputs", "tensors")

    def __init__(
        self, tensors: Sequence[torch.Tensor], device: torch.device | str | None = None
    ) -> None:
        for tensor in tensors:
            check_shapes("matrices", "first[N0 K] other[N K]", tensors[0], tensor)
            if tensor.dtype != tensors[0].dtype:
                raise ValueError(f"matrices: {tensors[0].dtype} beside {tensor.dtype}")
        target = torch.device(device or tensors[0].device)
        on_cpu = target.type == "cpu"
        self.tensors = tuple(tensors) if on_cpu else (_joined(tensors, target),)
        self.arrays = tuple(as_array(tensor) for tensor in self.tensors) if on_cpu else ()
        self.inputs = tensors[0].shape[1]
        self.outputs = sum(tensor.shape[0] for tensor in tensors)
        self.is_wide = tensors[0].dtype == torch.float32

    @property
    def weight(self) -> torch.Tensor:
        """[outputs, inputs], all matrices in one. Only where they are one."""
        (weight,) = self.tensors
        return weight


def _joined(tensors: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """One below the other, each copied once to where it belongs."""
    if len(tensors) == 1 and tensors[0].device == device:
        return tensors[0]
    rows = [tensor.shape[0] for tensor in tensors]
    joined = tensors[0].new_empty(sum(rows), tensors[0].shape[1], device=device)
    for part, tensor in zip(joined.split(rows), tensors, strict=True):
        if tensor.is_cuda:
            part.copy_(tensor)
        else:
            upload(tensor, part)
    return joined


def matmul_transb(
    x: torch.Tensor,
    matrices: Matrices,
    *,
    norm: Norm | None = None,
    residual: torch.Tensor | None = None,
    gated: bool = False,
    wide: bool = False,
) -> torch.Tensor:
    """x[M, K] -> [M, N]. What usually stands around a product is part of it: the norm of x before;
    after it residual fp32[M, N] is added, or (gated) the first half of the columns goes through
    silu and multiplies the second half: [M, N/2]. One thread at a time.

    On the CPU everything is fp32, and residual stays as it is. On CUDA x is fp32 with norm and
    otherwise of the weights' type, as is the result, except that wide asks for fp32; with residual
    the sum is written into residual, which is returned.
    """
    _check(x, matrices, norm, residual, gated=gated)
    if x.is_cuda:
        return cuda.matmul_transb(x, matrices, norm=norm, residual=residual, gated=gated, wide=wide)
    if x.shape[0] == 1 and not matrices.is_wide and not products().invariant:
        return _vector(x, matrices, norm, residual, gated=gated)
    if norm is not None:
        x = rms_norm(x, norm)
    out = _way(x.shape[0], matrices)(x, matrices, residual)
    return silu_mul(out) if gated else out


def _check(
    x: torch.Tensor,
    matrices: Matrices,
    norm: Norm | None,
    residual: torch.Tensor | None,
    *,
    gated: bool,
) -> None:
    if x.dim() != 2 or x.shape[1] != matrices.inputs:
        raise ValueError(
            f"matmul_transb: x has shape {tuple(x.shape)}, expected [M, {matrices.inputs}]"
        )
    if norm is not None and norm.size != matrices.inputs:
        raise ValueError(f"matmul_transb: norm has K = {norm.size}, expected K = {matrices.inputs}")
    if residual is not None and (gated or residual.shape != (x.shape[0], matrices.outputs)):
        raise ValueError(
            f"matmul_transb: residual has shape {tuple(residual.shape)}, "
            f"expected {(x.shape[0], matrices.outputs)}, and none with gated"
        )


def _way(rows: int, matrices: Matrices) -> Callable[..., torch.Tensor]:
    by_us = not matrices.is_wide and rows <= product_rows.limit()
    return by_kernel if by_us or products().invariant else by_torch


def _vector(
    x: torch.Tensor,
    matrices: Matrices,
    norm: Norm | None,
    residual: torch.Tensor | None,
    *,
    gated: bool,
) -> torch.Tensor:
    """One row: everything in one call, since starting a kernel costs as much as a small one."""
    out = x.new_empty(1, matrices.outputs // 2 if gated else matrices.outputs)
    weight, eps = (norm.array, norm.eps) if norm else (_NO_ROW, 0.0)
    addend = _NO_ROW if residual is None else residual.numpy()[0]
    cpu.matvec(x.numpy()[0], weight, eps, matrices.arrays, addend, gated, out.numpy()[0])
    return out


def by_kernel(
    x: torch.Tensor, matrices: Matrices, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """Own kernel for several rows: weights are read from memory once. A row's result depends
    neither on its place nor on the other rows."""
    rows = x.shape[0]
    missing = -rows % cpu.ROWS
    if missing:
        x = torch.cat([x, x.new_zeros(missing, matrices.inputs)])
        if residual is not None:
            residual = torch.cat([residual, residual.new_zeros(missing, matrices.outputs)])
    out = x.new_empty(rows + missing, matrices.outputs)
    addends = _NO_ROWS if residual is None else residual.numpy()
    cpu.matmul(x.numpy(), matrices.arrays, addends, out.numpy())
    return out[:rows]


def by_torch(
    x: torch.Tensor, matrices: Matrices, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """torch's fp32 product, 16-bit weights widened into scratch one matrix at a time."""
    out = x.new_empty(x.shape[0], matrices.outputs)
    start = 0
    for tensor in matrices.tensors:
        torch.mm(x, _widened(tensor).t(), out=out[:, start : start + tensor.shape[0]])
        start += tensor.shape[0]
    return out if residual is None else out.add_(residual)


def reference(
    x: torch.Tensor, matrices: Matrices, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """The same in plain torch, in x's own precision."""
    out = x @ torch.cat(matrices.tensors).to(x.dtype).t()
    return out if residual is None else out + residual


def tune_products(weights: Sequence[torch.Tensor], key: str, store: Path) -> None:
    """Set the number of rows at which products change over, from measurements on matrices like
    the model's own; on several, since in a model each comes from memory and not from a cache
    (see `product_rows.choose`)."""
    model = [Matrices([weight]) for weight in weights]

    def measure(rows: int) -> tuple[float, float]:
        x = torch.randn(rows, model[0].inputs)
        ours = product_rows.best_of(lambda: [by_kernel(x, matrices) for matrices in model])
        return ours, product_rows.best_of(lambda: [by_torch(x, matrices) for matrices in model])

    product_rows.choose(key, store, measure)


def _widened(weight: torch.Tensor) -> torch.Tensor:
    global _scratch
    if weight.dtype == torch.float32:
        return weight
    if _scratch.numel() < weight.numel():
        # of no mode: a tensor made in inference mode may not be written to outside it
        with torch.inference_mode(mode=False):
            _scratch = torch.empty(weight.numel())
    return _scratch[: weight.numel()].view(weight.shape).copy_(weight)
