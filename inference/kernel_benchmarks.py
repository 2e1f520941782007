"""One row for each kernel: its time, its share of the limit, its error beside torch's own.

A case is built when its turn comes and dropped after it, so that one fits into memory at a time.
One that fails becomes a row that says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import kernels
from inference.benchmark_shapes import SHAPES, shape_config
from inference.config import ModelConfig
from inference.gpu_timing import Limits, Timer, time_runs

Result = Callable[[], torch.Tensor]

# Of an error, in a table.
_MOST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured, on which device, in which precision. spread_bytes: how much data a case
    goes through, so that little of it is still in the GPU's cache when it comes again; at most
    most_copies times. heads: query heads, key/value heads, size of a head."""

    models: Mapping[str, ModelConfig]
    decode_rows: tuple[int, ...] = (1, 8)
    prompt_rows: int = 2048
    heads: tuple[tuple[int, int, int], ...] = ((32, 8, 128), (32, 8, 64), (9, 3, 64))
    contexts: tuple[tuple[int, int], ...] = ((1, 2048), (1, 8192), (1, 32768), (64, 2048))
    prompts: tuple[int, ...] = (2048, 8192)
    vocabularies: tuple[int, ...] = (49152, 128256)
    sampled_rows: tuple[int, ...] = (1, 64)
    decoder_context: int = 1024
    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16
    spread_bytes: int = 512 << 20
    most_copies: int = 256

    def copies(self, size: int) -> int:
        """Of data of `size` bytes."""
        return max(1, min(self.most_copies, math.ceil(self.spread_bytes / size)))

    def random(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.randn(shape, device=self.device).to(dtype or self.dtype)


@dataclass(frozen=True, slots=True)
class Case:
    """ours: a run for each copy of the data. torchs: the same (or its main part) by torch. The
    first result of ours[0] is compared with exact(), in float64, as is torch_result() (by default
    torchs[0]). work: bytes that must be moved, or with is_products operations."""

    ours: Sequence[Result]
    torchs: Sequence[Result]
    exact: Result
    work: int
    is_products: bool = False
    torch_result: Result | None = None
    products: kernels.Products = field(default_factory=kernels.Products)


Named = tuple[str, Callable[[], Case]]


@dataclass(frozen=True, slots=True)
class KernelRow:
    """us: median microseconds in a CUDA graph, with the fastest and the slowest. rate in unit
    (GB/s or TFLOP/s); share of what the GPU was measured to do. error: norm of the difference to
    float64 over the norm; worst: its largest element over the rms. torch_*: of torch, in the same
    precision. Tokens that were sampled have error 0 if they are the right ones. failure: why there
    is nothing else."""

    name: str
    us: float = 0.0
    fastest: float = 0.0
    slowest: float = 0.0
    rate: float = 0.0
    unit: str = ""
    share: float = 0.0
    error: float | None = None
    worst: float | None = None
    torch_us: float | None = None
    torch_error: float | None = None
    torch_worst: float | None = None
    failure: str | None = None


def all_cases(sizes: Sizes) -> Iterator[Named]:
    from inference import benchmark_attention, benchmark_decoding, benchmark_products

    yield from benchmark_products.cases(sizes)
    yield from benchmark_attention.cases(sizes)
    yield from benchmark_decoding.cases(sizes)


def default_sizes() -> Sizes:
    return Sizes({name: shape_config(name, 8192) for name in SHAPES})


@torch.inference_mode()
def kernel_rows(sizes: Sizes, limits: Limits, timer: Timer = time_runs) -> list[dict[str, Any]]:
    """All rows, ready for JSON. Products are back to their defaults afterwards."""
    torch.manual_seed(0)
    return [asdict(measured(named, limits, timer)) for named in all_cases(sizes)]


def measured(named: Named, limits: Limits, timer: Timer) -> KernelRow:
    name, build = named
    try:
        case = build()
        kernels.use_products(case.products)
        return _row(name, case, limits, timer)
    except Exception as error:  # the other rows are still wanted
        words = str(error).partition("\n")[0][:_MOST_WORDS]
        return KernelRow(name, failure=f"{type(error).__name__}: {words}")
    finally:
        kernels.use_products(kernels.Products())


def _row(name: str, case: Case, limits: Limits, timer: Timer) -> KernelRow:
    found = case.ours[0]().double()
    exact = case.exact()
    error, worst = errors(found, exact)
    torchs = case.torch_result or (case.torchs[0] if case.torchs else None)
    torch_error, torch_worst = errors(torchs().double(), exact) if torchs else (None, None)
    del found, exact
    times, torch_us = timer(case.ours), timer(case.torchs).median if case.torchs else None
    per_second = case.work / times.median * 1e6
    return KernelRow(
        name,
        us=times.median,
        fastest=times.fastest,
        slowest=times.slowest,
        rate=per_second / (1e12 if case.is_products else 1e9),
        unit="TFLOP/s" if case.is_products else "GB/s",
        share=per_second / (limits.matrix if case.is_products else limits.read),
        error=error,
        worst=worst,
        torch_us=torch_us,
        torch_error=torch_error,
        torch_worst=torch_worst,
    )


def errors(found: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    """Both float64: norm of the difference over the norm; its largest element over the rms.
    Raises ValueError for another shape, and for numbers that are not finite."""
    if found.shape != exact.shape:
        raise ValueError(f"the result has shape {tuple(found.shape)}, not {tuple(exact.shape)}")
    difference = found - exact
    if not bool(difference.isfinite().all()):
        raise ValueError("the result has numbers that are not finite")
    rms = max(float(exact.square().mean().sqrt()), 1e-300)
    error = float(difference.square().mean().sqrt()) / rms
    return error, float(difference.abs().max()) / rms


def normed(x: torch.Tensor, norm: kernels.Norm, dtype: torch.dtype) -> torch.Tensor:
    """rms_norm in plain torch: in float64, or in fp32 and then rounded to dtype."""
    wide = x.to(torch.float64 if dtype == torch.float64 else torch.float32)
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.eps)
    return (wide * scale * norm.weight).to(dtype)


def rotated(
    x: torch.Tensor, rotary: kernels.Rotary, positions: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """x[T, H, D] turned by its positions, in dtype."""
    cos, sin = (table[positions][:, None].to(dtype) for table in (rotary.cos, rotary.sin))
    low, high = x.to(dtype).chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


def copied(tensor: torch.Tensor, count: int) -> list[torch.Tensor]:
    return [tensor, *(tensor.clone() for _ in range(count - 1))]


def counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"
