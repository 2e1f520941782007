"""From the residual stream to rotated queries and a filled cache, on a GPU."""

from __future__ import annotations

import pytest
import torch

from kernels.cuda import matmul_transb as cuda
from kernels.product_choice import use_products
from kernels.rms_norm import Norm
from kernels.rms_norm import reference as norm_reference
from kernels.rope_append import Rotary
from kernels.rope_append import reference as rope_reference
from tests.gpu.test_matmul_transb import (
    DEVICE,
    INVARIANT,
    OURS,
    SLACK,
    defaults,
    empty_cache,
    numbers,
    tables,
    weights,
)
from tests.kernel_cases import DTYPES, judge, poisoned, random

__all__ = ["defaults", "poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]


@pytest.mark.parametrize("heads", [(9, 3, 64), (3, 1, 16), (4, 4, 80), (8, 2, 128)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_qkv_rope_append(dtype: torch.dtype, heads: tuple[int, int, int]) -> None:
    query_heads, kv_heads, size = heads
    w = weights((query_heads + 2 * kv_heads) * size, 584, dtype)
    norm, rotary = Norm(random(584), 1e-5, device=DEVICE), tables(size)
    wide = Rotary(rotary.cos.double(), rotary.sin.double())
    # a normed number that falls to the other side of a rounding moves what sums cancel to
    slack = max(SLACK, torch.finfo(dtype).eps)
    for chosen in (OURS, INVARIANT):
        use_products(chosen)
        for rows in (1, 2, 8, 9, 33, 64, 70):
            generator = torch.Generator().manual_seed(rows)
            positions = torch.randint(500, (rows,), generator=generator).to(DEVICE)
            slots = torch.randperm(192, generator=generator)[:rows].to(DEVICE)
            slots[1::3] = -1
            x = numbers(rows, 584)
            act = norm_reference(x, norm).to(dtype)
            ours, torchs = (empty_cache(kv_heads, size, dtype) for _ in range(2))
            exact = empty_cache(kv_heads, size, torch.float64)
            arguments = (rotary.cos, rotary.sin, positions)
            q = cuda.qkv_rope_append(x, w, norm, *arguments, ours, slots)
            by_halves = rope_reference(act @ w.weight.t(), rotary, positions, torchs, slots)
            product = norm_reference(x.double(), norm) @ w.weight.double().t()
            exact_q = rope_reference(product, wide, positions, exact, slots)
            judge(q, by_halves.to(dtype), exact_q, rounding=slack)
            for name in ("k", "v"):
                mine, theirs, right = (getattr(c, name) for c in (ours, torchs, exact))
                live = right.isfinite()
                assert torch.equal(mine.isfinite(), live)
                found = (values[live].view(-1, size) for values in (mine, theirs, right))
                judge(*found, rounding=slack)
