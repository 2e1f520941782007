"""x · wᵀ on CUDA, with what stands around it: checks, the norm before, and where it goes.

One row goes to matvec and up to 16 to matmul_few, which read w at the speed of memory. Where more
go is measured (`tune`), and guessed until then. fp32 weights have a kernel of their own, to check
with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kernels.cache_layer import CacheLayer
from kernels.cuda.arguments import check_arguments, check_multiple
from kernels.cuda.matvec import vector
from kernels.cuda.product_ways import FEW, VECTOR, best_way, empty_result, measure, run
from kernels.cuda.products import Epilogue, can_norm, few, fits_few
from kernels.cuda.rms_norm import rms_norm
from kernels.cuda.rope_append import rope_append
from kernels.product_choice import products
from kernels.rms_norm import Norm
from kernels.shapes import check_shapes

if TYPE_CHECKING:
    from kernels.matmul_transb import Matrices


def matmul_transb(
    x: torch.Tensor,
    matrices: Matrices,
    *,
    norm: Norm | None = None,
    residual: torch.Tensor | None = None,
    gated: bool = False,
    wide: bool = False,
) -> torch.Tensor:
    """x[M, K] in the weights' type, or with norm fp32 -> [M, N] in the weights' type, or with wide
    fp32. residual fp32[M, N] is added to in place and returned. gated: silu(first half) · second
    half, [M, N/2]. K is a multiple of 8."""
    weight, rows = matrices.weight, x.shape[0]
    epilogue = _epilogue(weight, residual=residual is not None, gated=gated, wide=wide)
    _check("matmul_transb", x, weight, norm, residual)
    out = empty_result(x, weight, epilogue) if residual is None else residual
    if rows == 0:
        return out
    way = best_way(rows, weight, epilogue)
    if norm is not None and not _norms(way, rows, weight):
        x, norm = rms_norm(x, norm.weight, norm.eps, weight.dtype), None
    return run(way, x, weight, out, epilogue, norm)


def qkv_rope_append(
    x: torch.Tensor,
    matrices: Matrices,
    norm: Norm,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    """The product with the weights of q, k and v, and all that stands around it: x fp32[M, K] is
    normed before; after it queries and keys are rotated, keys and values go to the cache. cos and
    sin fp32[P, D/2], positions and slots int64[M]; a slot of -1 is written nowhere. Returns the
    rotated queries [M, Hq, D] in the weights' type. One kernel for up to 8 rows, two up to 64."""
    weight, rows = matrices.weight, x.shape[0]
    fused = fits_few(rows, weight.shape[1]) and not products().invariant
    if rows == 0 or weight.dtype == torch.float32 or not fused:
        qkv = matmul_transb(x, matrices, norm=norm)
        return rope_append(qkv, cos, sin, positions, cache, slots)
    _check("qkv_rope_append", x, weight, norm, None)
    heads = _query_heads(rows, weight, cos, sin, positions, cache, slots)
    q = x.new_empty(rows, heads, cache.head, dtype=weight.dtype)
    rope = (cos, sin, positions, slots, cache.k, cache.v, heads, cache.kv_heads)
    sizes = {"head": cache.head, "block_size": cache.block_size}
    if best_way(rows, weight, Epilogue.ROPE) == VECTOR:
        vector(x, weight, q, Epilogue.ROPE, norm=norm, rope=rope, **sizes)
        return q
    by_kernel: Norm | None = norm
    if not _can_norm(rows, weight):
        x, by_kernel = rms_norm(x, norm.weight, norm.eps, weight.dtype), None
    halves = products().sums_in_fp16(weight.dtype)
    few(x, weight, q, Epilogue.ROPE, norm=by_kernel, rope=rope, fp16_sums=halves, **sizes)
    return q


def tune(
    model: Sequence[Matrices],
    rows: Sequence[int],
    *,
    residual: bool = False,
    gated: bool = False,
    wide: bool = False,
) -> None:
    """Measure, for each of these numbers of rows, which way is fastest; the table in use keeps it.
    model is one product of several layers, together more than the GPU's cache holds."""
    weights = [matrices.weight for matrices in model]
    if weights[0].dtype == torch.float32:
        return
    epilogue = _epilogue(weights[0], residual=residual, gated=gated, wide=wide)
    for count in rows:
        measure(weights, count, epilogue)


def _norms(way: str, rows: int, weight: torch.Tensor) -> bool:
    """Whether a way takes x as it is before the norm."""
    return way == VECTOR or (way == FEW and _can_norm(rows, weight))


def _can_norm(rows: int, weight: torch.Tensor) -> bool:
    """Where invariant, a row is normed in the same way however many there are."""
    possible = weight.dtype != torch.float32 and not products().invariant
    return possible and can_norm(rows, weight.shape[1])


def _epilogue(weight: torch.Tensor, *, residual: bool, gated: bool, wide: bool) -> Epilogue:
    if residual + gated + wide > 1:
        raise ValueError("matmul_transb: residual, gated and wide exclude each other, choose one")
    if gated:
        check_multiple("matmul_transb", N=(weight.shape[0], 2))
        return Epilogue.GATED
    if residual:
        return Epilogue.RESIDUAL
    return Epilogue.WIDE if wide else Epilogue.STORE


def _check(
    op: str,
    x: torch.Tensor,
    weight: torch.Tensor,
    norm: Norm | None,
    residual: torch.Tensor | None,
) -> None:
    expected = {"x": (x, weight.dtype if norm is None else torch.float32)}
    expected["weight"] = (weight, weight.dtype)
    if norm is not None:
        expected["norm"] = (norm.weight, torch.float32)
    if residual is not None:
        expected["residual"] = (residual, torch.float32)
    check_arguments(op, **expected)
    check_multiple(op, K=(weight.shape[1], 8))


def _query_heads(
    rows: int,
    weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> int:
    check_arguments(
        "qkv_rope_append",
        weight=(weight, weight.dtype),
        cos=(cos, torch.float32),
        sin=(sin, torch.float32),
        positions=(positions, torch.int64),
        slots=(slots, torch.int64),
        k_cache=(cache.k, weight.dtype),
        v_cache=(cache.v, weight.dtype),
    )
    specs = "cos[P D/2] sin[P D/2] positions[M] slots[M]"
    sizes = check_shapes("qkv_rope_append", specs, cos, sin, positions, slots)
    check_multiple("qkv_rope_append", D=(cache.head, 16))
    heads, rest = divmod(weight.shape[0] - 2 * cache.kv_heads * cache.head, cache.head)
    if rest or heads < 1 or 2 * sizes["D/2"] != cache.head or sizes["M"] != rows:
        raise ValueError(
            f"qkv_rope_append: {rows} rows of x, weights of {weight.shape[0]} rows, cos of width "
            f"{sizes['D/2']} and {sizes['M']} positions do not fit each other and a cache of "
            f"{cache.kv_heads} heads of size {cache.head}"
        )
    return heads
