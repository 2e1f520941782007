"""The ways that a 16-bit product can go on CUDA: which there are, which to take, and taking it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from kernels.cuda.matvec import fits_vector, vector
from kernels.cuda.products import FEW_ROWS, Epilogue, exact, few, fits_few, tiles
from kernels.cuda.silu_mul import silu_mul, takes_width
from kernels.product_choice import products, way_table
from kernels.rms_norm import Norm

VECTOR, FEW, TILES, TORCH = "vector", "few", "tiles", "torch"

# With up to this many rows reading w is all that counts, and nothing reads it faster than `few`.
_ALWAYS_FEW = 16
_RUNS = 5


def possible_ways(rows: int, weight: torch.Tensor, epilogue: Epilogue) -> tuple[str, ...]:
    fits = fits_few(rows, weight.shape[1])
    if fits_vector(rows, weight) and products().may_differ_for_one_row(weight.dtype):
        return (VECTOR, FEW) if fits else (VECTOR,)
    if fits and rows <= _ALWAYS_FEW:
        return (FEW,)
    ours = (FEW, TILES) if fits else (TILES,)
    can_follow = epilogue != Epilogue.GATED or takes_width(weight.shape[0] // 2)
    return (*ours, TORCH) if can_follow and products().may_be_torchs(weight.dtype) else ours


def best_way(rows: int, weight: torch.Tensor, epilogue: Epilogue) -> str:
    """What was measured, or else a guess."""
    possible = possible_ways(rows, weight, epilogue)
    if len(possible) == 1:
        return possible[0]
    known = way_table().find(_key(rows, weight, epilogue))
    if known in possible:
        return known
    if VECTOR in possible:
        return VECTOR
    if rows > FEW_ROWS:
        return TORCH if TORCH in possible else TILES
    # x is read once for each 32 rows of w by few, for each 128 by tiles if these are enough
    multiprocessors = torch.cuda.get_device_properties(weight.device).multi_processor_count
    return TILES if FEW not in possible or weight.shape[0] >= 32 * multiprocessors else FEW


def run(
    way: str,
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor,
    epilogue: Epilogue,
    norm: Norm | None = None,
) -> torch.Tensor:
    """Returns out, or with a gate torch's own tensor. norm: only vector and few can. fp32 goes its
    own way."""
    fp16_sums = products().sums_in_fp16(weight.dtype)
    if weight.dtype == torch.float32:
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


def measure(weights: Sequence[torch.Tensor], rows: int, epilogue: Epilogue) -> None:
    """Put into the table in use which way is fastest. weights: one product of several layers,
    together more than the GPU's cache holds, since in a model each is read from memory."""
    first = weights[0]
    possible = possible_ways(rows, first, epilogue)
    if len(possible) == 1:
        return
    x = torch.randn(rows, first.shape[1], device=first.device).to(first.dtype)
    out = empty_result(x, first, epilogue)

    def over_layers(way: str) -> None:
        for weight in weights:
            run(way, x, weight, out, epilogue)

    runs = {way: functools.partial(over_layers, way) for way in possible}
    way_table().choose(_key(rows, first, epilogue), runs, _seconds)


def empty_result(x: torch.Tensor, weight: torch.Tensor, epilogue: Epilogue) -> torch.Tensor:
    """[M, N], with a gate [M, N/2]."""
    columns = weight.shape[0] // 2 if epilogue == Epilogue.GATED else weight.shape[0]
    is_wide = epilogue in (Epilogue.WIDE, Epilogue.RESIDUAL)
    dtype = torch.float32 if is_wide else weight.dtype
    return x.new_empty(x.shape[0], columns, dtype=dtype)


def _key(rows: int, weight: torch.Tensor, epilogue: Epilogue) -> str:
    """Numbers of rows up to the next power of two share a way, as do all above 4096."""
    bucket = min(1 << (rows - 1).bit_length(), 8192)
    gpu = torch.cuda.get_device_properties(weight.device).name
    shape = f"{weight.shape[0]}x{weight.shape[1]}"
    return f"{gpu}, {weight.dtype}, {shape} {epilogue.name}, {bucket} rows, {products()}"


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
