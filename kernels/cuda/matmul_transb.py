"""x · wᵀ on CUDA, with what stands around it: checks, the norm before, and where it goes.

One row goes to matvec, a few to matmul_few, which reads w once; many to tensor-core tiles or to
cuBLAS. Which is fastest for a shape is measured (`tune`), and guessed until then. fp32 weights have
a kernel of their own, to check with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from kernels.cache_layer import CacheLayer
from kernels.cuda.arguments import check_arguments, check_multiple
from kernels.cuda.device import device
from kernels.cuda.matvec import vector
from kernels.cuda.product_ways import (
    FEW,
    VECTOR,
    Product,
    best_way,
    empty_result,
    measure,
    normed_for,
    run,
)
from kernels.cuda.products import Epilogue, few
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
    weight = matrices.weight
    epilogue = _epilogue(weight, residual=residual is not None, gated=gated, wide=wide)
    _check("matmul_transb", x, weight, norm, residual)
    out = empty_result(x, weight, epilogue) if residual is None else residual
    if x.shape[0] == 0:
        return out
    way = best_way(Product.of(x.shape[0], weight, epilogue))
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
    rotated queries [M, Hq, D] in the weights' type. One kernel for up to 8 rows, two up to 64,
    unless three were measured to be faster."""
    weight = matrices.weight
    where = (cos, sin, positions, cache, slots)
    _check("qkv_rope_append", x, weight, norm, None)
    heads = _query_heads(x.shape[0], weight, *where)
    if x.shape[0] == 0:
        return x.new_empty(0, heads, cache.head, dtype=weight.dtype)
    way = best_way(Product.of(x.shape[0], weight, Epilogue.ROPE))
    return _qkv_rope_append(way, x, weight, norm, heads, *where)


def tune(
    model: Sequence[Matrices],
    rows: Iterable[int],
    *,
    norm: Norm | None = None,
    residual: bool = False,
    gated: bool = False,
    wide: bool = False,
) -> None:
    """Measure, for each of these numbers of rows, which way is fastest; the table in use keeps it.
    model: one product of each layer."""
    weights = _uncached(model)
    epilogue = _epilogue(weights[0], residual=residual, gated=gated, wide=wide)
    for count in rows:
        x = _random_input(count, weights[0], norm)
        out = empty_result(x, weights[0], epilogue)

        def go(way: str, x: torch.Tensor = x, out: torch.Tensor = out) -> None:
            for weight in weights:
                run(way, x, weight, out, epilogue, norm)

        measure(Product.of(count, weights[0], epilogue), go)


def tune_qkv(
    model: Sequence[Matrices],
    rows: Iterable[int],
    norm: Norm,
    cos: torch.Tensor,
    sin: torch.Tensor,
    cache: CacheLayer,
) -> None:
    """The same for qkv_rope_append. Nothing is written to the cache."""
    weights = _uncached(model)
    for count in rows:
        x = _random_input(count, weights[0], norm)
        positions = torch.zeros(count, dtype=torch.int64, device=x.device)
        where = (cos, sin, positions, cache, positions - 1)
        heads = _query_heads(count, weights[0], *where)

        def go(way: str, x: torch.Tensor = x, heads: int = heads, where: _Where = where) -> None:
            for weight in weights:
                _qkv_rope_append(way, x, weight, norm, heads, *where)

        measure(Product.of(count, weights[0], Epilogue.ROPE), go)


_Where = tuple[torch.Tensor, torch.Tensor, torch.Tensor, CacheLayer, torch.Tensor]


def _qkv_rope_append(
    way: str,
    x: torch.Tensor,
    weight: torch.Tensor,
    norm: Norm,
    heads: int,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    cache: CacheLayer,
    slots: torch.Tensor,
) -> torch.Tensor:
    if way not in (VECTOR, FEW) or products().invariant:
        qkv = run(way, x, weight, empty_result(x, weight, Epilogue.STORE), Epilogue.STORE, norm)
        return rope_append(qkv, cos, sin, positions, cache, slots)
    q = x.new_empty(x.shape[0], heads, cache.head, dtype=weight.dtype)
    rope = (cos, sin, positions, slots, cache.k, cache.v, heads, cache.kv_heads)
    sizes = {"head": cache.head, "block_size": cache.block_size}
    if way == VECTOR:
        vector(x, weight, q, Epilogue.ROPE, norm=norm, rope=rope, **sizes)
        return q
    x, by_kernel = normed_for(way, x, weight, norm)
    halves = products().sums_in_fp16(weight.dtype)
    few(x, weight, q, Epilogue.ROPE, norm=by_kernel, rope=rope, fp16_sums=halves, **sizes)
    return q


def _uncached(model: Sequence[Matrices]) -> list[torch.Tensor]:
    """Of as many layers as the GPU's cache cannot hold."""
    weights: list[torch.Tensor] = []
    for matrices in model:
        weights.append(matrices.weight)
        if sum(weight.nbytes for weight in weights) > 2 * device().l2_bytes:
            break
    return weights


def _random_input(rows: int, weight: torch.Tensor, norm: Norm | None) -> torch.Tensor:
    x = torch.randn(rows, weight.shape[1], device=weight.device)
    return x.to(weight.dtype) if norm is None else x


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
