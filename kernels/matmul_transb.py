"""matmul_transb: x · wᵀ, the product that is nearly all of a language model's work.

Weights stay as they are stored. Which way is fastest depends on the number of rows M:
a few rows are bound by reading w (own kernels, 16-bit weights read once, fp32 sums); many rows
are bound by arithmetic (w widened into scratch that all products share, then torch's fp32
product). `product_rows.limit` holds the M at which this machine changes over. fp32 weights always
go to torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from kernels import product_rows
from kernels.cpu import matmul_transb as cpu
from kernels.cpu.jit import as_array
from kernels.shapes import check_shapes

_EMPTY_ROW = torch.empty(0)
_EMPTY_ROWS = torch.empty(0, 0)
_scratch = torch.empty(0)


def matmul_transb(
    x: torch.Tensor, weights: Sequence[torch.Tensor], residual: torch.Tensor | None = None
) -> torch.Tensor:
    """x fp32[M, K], each weight [N, K] of one precision -> fp32[M, sum of N], the products side
    by side, plus residual fp32[M, sum of N]. Not to be entered by two threads at once."""
    for weight in weights:
        check_shapes("matmul_transb", x=(x, "M K"), weight=(weight, "N K"))
    rows = x.shape[0]
    if weights[0].dtype == torch.float32:
        return by_torch(x, weights, residual)
    if rows > product_rows.limit():
        return by_torch(x, weights, residual)
    return by_kernel(x, weights, residual)


def by_kernel(
    x: torch.Tensor, weights: Sequence[torch.Tensor], residual: torch.Tensor | None = None
) -> torch.Tensor:
    """Own kernels: 16-bit weights are read from memory once."""
    rows = x.shape[0]
    padded = 1 if rows == 1 else -(-rows // cpu.ROWS) * cpu.ROWS
    if padded != rows:
        x = torch.cat([x, x.new_zeros(padded - rows, x.shape[1])])
        if residual is not None:
            residual = torch.cat([residual, residual.new_zeros(padded - rows, residual.shape[1])])
    out = x.new_empty(padded, sum(w.shape[0] for w in weights))
    arrays = tuple(as_array(w) for w in weights)
    if rows == 1:
        addend = _EMPTY_ROW if residual is None else residual[0]
        cpu.matvec(as_array(x[0]), arrays, as_array(addend), as_array(out[0]))
    else:
        addend = _EMPTY_ROWS if residual is None else residual
        cpu.matmul(as_array(x), arrays, as_array(addend), as_array(out))
    return out[:rows]


def by_torch(
    x: torch.Tensor, weights: Sequence[torch.Tensor], residual: torch.Tensor | None = None
) -> torch.Tensor:
    """torch's fp32 product, 16-bit weights widened into scratch one matrix at a time."""
    out = x.new_empty(x.shape[0], sum(w.shape[0] for w in weights))
    start = 0
    for weight in weights:
        part = out[:, start : start + weight.shape[0]]
        torch.mm(x, _widened(weight).t(), out=part)
        start += weight.shape[0]
    return out if residual is None else out.add_(residual)


def reference(
    x: torch.Tensor, weights: Sequence[torch.Tensor], residual: torch.Tensor | None = None
) -> torch.Tensor:
    """The same in plain torch, in x's own precision."""
    out = x @ torch.cat(list(weights)).to(x.dtype).t()
    return out if residual is None else out + residual


def tune_products(weight: torch.Tensor, key: str, store: Path) -> None:
    """Set the number of rows at which products change over, from measurements on a matrix like
    the model's own (see `product_rows.choose`)."""

    def measure(rows: int) -> tuple[float, float]:
        x = torch.randn(rows, weight.shape[1])
        ours = product_rows.best_of(lambda: by_kernel(x, (weight,)))
        return ours, product_rows.best_of(lambda: by_torch(x, (weight,)))

    product_rows.choose(key, store, measure)


def _widened(weight: torch.Tensor) -> torch.Tensor:
    global _scratch
    if weight.dtype == torch.float32:
        return weight
    if _scratch.numel() < weight.numel():
        _scratch = torch.empty(weight.numel())
    return _scratch[: weight.numel()].view(weight.shape).copy_(weight)
