"""The ways that a product can go on CUDA: which there are, which to take, and taking it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kernels.cuda.device import device
from kernels.cuda.matvec import fits_vector, vector
from kernels.cuda.products import Epilogue, can_norm, exact, few, fits_few, tiles
from kernels.cuda.rms_norm import rms_norm
from kernels.cuda.silu_mul import silu_mul, takes_width
from kernels.product_choice import Products, WayTable, products, way_table
from kernels.rms_norm import Norm

VECTOR, FEW, TILES, TORCH, EXACT = "vector", "few", "tiles", "torch", "exact"

# Up to here tiles are not worth compiling: they cannot be faster than few.
_FEW = 16
_MOST_ROWS = 8192
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Product:
    """x[rows, columns] by weights [outputs, columns] of a type, and what becomes of the sums."""

    rows: int
    outputs: int
    columns: int
    dtype: torch.dtype
    epilogue: Epilogue

    @classmethod
    def of(cls, rows: int, weight: torch.Tensor, epilogue: Epilogue) -> Product:
        return cls(rows, weight.shape[0], weight.shape[1], weight.dtype, epilogue)

    @property
    def key(self) -> str:
        """Under which its way is kept. Numbers of rows up to the next power of two share one, as
        do all above half of the most."""
        rows = min(1 << (self.rows - 1).bit_length(), _MOST_ROWS)
        shape = f"{self.outputs}x{self.columns} {self.epilogue.name}"
        return f"{device().name}, {self.dtype}, {shape}, {rows} rows, {products()}"


def possible_ways(product: Product) -> tuple[str, ...]:
    """The first is what is taken until there is a measurement."""
    how, dtype = products(), product.dtype
    if dtype == torch.float32:
        return (EXACT,)
    fits = fits_few(product.rows, product.columns)
    alone = product.rows == 1 and how.may_differ_for_one_row(dtype)
    if alone and fits_vector(product.outputs, product.columns):
        return (VECTOR, FEW) if fits else (VECTOR,)
    can_follow = product.epilogue != Epilogue.GATED or takes_width(product.outputs // 2)
    torchs = (TORCH,) if can_follow and how.may_be_torchs(dtype) else ()
    if not fits:
        return (*torchs, TILES)
    tiles = (TILES,) if product.rows > _FEW else ()
    return (FEW, *(torchs or tiles))


def best_way(product: Product) -> str:
    """What was measured, or else a guess."""
    return _best_way(product, products(), way_table())


@functools.lru_cache(maxsize=4096)
def _best_way(product: Product, _how: Products, table: WayTable) -> str:
    possible = possible_ways(product)
    known = table.find(product.key) if len(possible) > 1 else None
    return known if known in possible else possible[0]


def run(
    way: str,
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor,
    epilogue: Epilogue,
    norm: Norm | None = None,
) -> torch.Tensor:
    """With norm x is fp32 and normed before. Returns out, or with a gate torch's own tensor."""
    fp16_sums = products().sums_in_fp16(weight.dtype)
    x, norm = normed_for(way, x, weight, norm)
    if way == EXACT:
        exact(x, weight, out, epilogue)
    elif way == VECTOR:
        vector(x, weight, out, epilogue, norm=norm)
    elif way == FEW:
        few(x, weight, out, epilogue, norm=norm, fp16_sums=fp16_sums)
    elif way == TILES:
        tiles(x, weight, out, epilogue, in_parts=products().invariant, fp16_sums=fp16_sums)
    elif epilogue == Epilogue.RESIDUAL:
        torch.addmm(out, x, weight.t(), out_dtype=torch.float32, out=out)
    elif epilogue == Epilogue.WIDE:
        torch.mm(x, weight.t(), out_dtype=torch.float32, out=out)
    elif epilogue == Epilogue.GATED:
        return silu_mul(torch.mm(x, weight.t()))
    else:
        torch.mm(x, weight.t(), out=out)
    return out


def normed_for(
    way: str, x: torch.Tensor, weight: torch.Tensor, norm: Norm | None
) -> tuple[torch.Tensor, Norm | None]:
    """What a way takes: x and the norm, if it norms by itself, or x that is normed. Where
    invariant, a row is normed in the same way however many there are."""
    by_few = way == FEW and not products().invariant and can_norm(x.shape[0], weight.shape[1])
    if norm is None or way == VECTOR or by_few:
        return x, norm
    return rms_norm(x, norm.weight, norm.eps, weight.dtype), None


def measure(product: Product, go: Callable[[str], object]) -> None:
    """Put into the table in use which way is fastest. go(way): the product of several layers,
    together more than the GPU's cache holds, since in a model each is read from memory."""
    runs = {way: functools.partial(go, way) for way in possible_ways(product)}
    if len(runs) > 1:
        way_table().choose(product.key, runs, _seconds)
        _best_way.cache_clear()


def empty_result(x: torch.Tensor, weight: torch.Tensor, epilogue: Epilogue) -> torch.Tensor:
    """[M, N], with a gate [M, N/2]."""
    columns = weight.shape[0] // 2 if epilogue == Epilogue.GATED else weight.shape[0]
    is_wide = epilogue in (Epilogue.WIDE, Epilogue.RESIDUAL)
    dtype = torch.float32 if is_wide else weight.dtype
    return x.new_empty(x.shape[0], columns, dtype=dtype)


def _seconds(run: Callable[[], object]) -> float:
    """The fastest of several runs as a graph, without the time that Python needs to launch."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    times = []
    for _ in range(_RUNS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return float(min(times))
