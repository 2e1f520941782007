"""How a kernel is judged: against float64, beside torch, on memory that is poisoned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HALVES = (torch.float16, torch.bfloat16)
# Where torch happens to be exact, ours may be off by a unit in the last place.
ROUNDING = 2.0**-23


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that torch hands out without a value is NaN: who reads it, or leaves it, shows it."""
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def random(
    *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, outliers: bool = True
) -> torch.Tensor:
    """Normal numbers with a few that are a hundred times as large, as trained models have them."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    values = torch.randn(shape, generator=generator)
    if outliers:
        values *= torch.where(torch.rand(shape, generator=generator) < 0.01, 100, 1)
    return values.to(dtype)


def judge(
    ours: torch.Tensor,
    torchs: torch.Tensor,
    exact: torch.Tensor,
    scale: torch.Tensor | None = None,
    *,
    rounding: float = ROUNDING,
) -> None:
    """Fails, naming the worst element, when ours is more than twice as far from exact (float64)
    as torch's. Errors are relative to scale: what was added up, or a row's largest number."""
    assert ours.shape == torchs.shape == exact.shape
    if scale is None:
        scale = exact.abs().amax(-1, keepdim=True)
    scale = scale.clamp_min(1e-300)
    errors, allowed = _errors(ours, exact, scale), _errors(torchs, exact, scale)
    limit = 2 * float(allowed.max()) + rounding
    index = np.unravel_index(int(errors.argmax()), errors.shape)
    at = tuple(map(int, index))
    assert errors[at] <= limit, (
        f"element {at} of {tuple(ours.shape)} is {float(ours[at])!r}, exactly "
        f"{float(exact[at])!r}: off by {float(errors[at]):.3g}, at most {limit:.3g} is allowed"
    )


def _errors(values: torch.Tensor, exact: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """NaN counts as infinitely wrong."""
    return ((values.double() - exact).abs() / scale).nan_to_num(nan=torch.inf)
