"""Rotation, the numbers that reach the cache, and the approximations that kernels are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kernels import CacheLayer, Rotary, rope_append
from kernels.cpu.jit import exp_nonpositive, jit
from kernels.rope_append import reference
from kernels.shapes import check_shapes
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = pytest.mark.usefixtures("poisoned")

NAN = float("nan")
HEADS = [(1, 1, 2), (4, 2, 16), (9, 3, 64), (3, 1, 80), (2, 2, 256)]


def empty_cache(kv_heads: int, size: int, dtype: torch.dtype, blocks: int = 12) -> CacheLayer:
    k, v = (torch.full((blocks, kv_heads, 4, size), NAN).to(dtype) for _ in range(2))
    return CacheLayer(k, v)


def angles(tokens: int, size: int) -> Rotary:
    turned = torch.outer(torch.arange(tokens) * 37.0, 100 ** -torch.linspace(0, 1, size // 2))
    return Rotary(turned.cos(), turned.sin())


@pytest.mark.parametrize("tokens", [1, 3, 8, 33])
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rotation_and_cache(dtype: torch.dtype, heads: tuple[int, int, int], tokens: int) -> None:
    query_heads, kv_heads, size = heads
    qkv = random(tokens, (query_heads + 2 * kv_heads) * size)
    rotary, positions = angles(tokens, size), torch.arange(tokens).flip(0)
    wide = Rotary(rotary.cos.double(), rotary.sin.double())
    slots = torch.randperm(48, generator=torch.Generator().manual_seed(tokens))[:tokens]
    ours, torchs = (empty_cache(kv_heads, size, dtype) for _ in range(2))
    exact = empty_cache(kv_heads, size, torch.float64)
    q = rope_append(qkv, rotary, positions, ours, slots)
    torchs_q = reference(qkv, rotary, positions, torchs, slots)
    exact_q = reference(qkv.double(), wide, positions, exact, slots)
    judge(q, torchs_q, exact_q)
    live = exact.k.isfinite()
    assert torch.equal(ours.k.isfinite(), live)
    assert torch.equal(ours.v.isfinite(), live)
    judge(*(layer.k[live].view(-1, size) for layer in (ours, torchs, exact)))
    assert torch.equal(ours.v[live], torchs.v[live])


def hard_numbers(dtype: torch.dtype) -> torch.Tensor:
    """fp32 numbers: each that dtype has, halfway between it and the next, a little to either
    side of that, beyond the largest, and any others."""
    patterns = torch.arange(2**15, dtype=torch.int32).to(torch.int16)
    stored = patterns.view(dtype).double()
    stored = stored[stored.isfinite()]
    between = (stored[:-1] + stored[1:]) / 2
    nudged = [np.nextafter(between.float().numpy(), np.float32(to)) for to in (0, np.inf)]
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31 - 1, (20000,), generator=generator).to(torch.int32)
    largest = torch.tensor([65519.0, 65520.0, 3.3895e38, 3.4028e38, float("inf")])
    positive = [stored.float(), between.float(), *map(torch.from_numpy, nudged), largest]
    numbers = torch.cat([*positive, *(-x for x in positive), bits.view(torch.float32)])
    return numbers[~numbers.isnan()]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_numbers_are_stored_as_the_nearest_and_halves_as_the_even_one(dtype: torch.dtype) -> None:
    """Bit by bit what torch makes of them; halfway cases of subnormals included."""
    numbers = hard_numbers(dtype)
    numbers = numbers[: numbers.numel() // 128 * 128].view(-1, 128)
    tokens = numbers.shape[0]
    cache = empty_cache(1, 128, dtype, blocks=-(-tokens // 4))
    qkv = torch.cat([torch.zeros(tokens, 256), numbers], dim=1)
    every = torch.arange(tokens)
    rope_append(qkv, angles(tokens, 128), every, cache, every)
    got = cache.v.flatten(0, 2)[:tokens].view(-1).view(torch.int16)
    expected = numbers.to(dtype).view(-1).view(torch.int16)
    different = (got != expected).nonzero()
    first = f"{numbers.view(-1)[different[0]].item()!r}" if different.numel() else ""
    assert different.numel() == 0, f"{len(different)} numbers differ, the first is {first}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_stored_as_nan(dtype: torch.dtype) -> None:
    cache = empty_cache(1, 16, dtype)
    cache.k.zero_()
    cache.v.zero_()
    qkv, first = torch.full((1, 48), NAN), torch.tensor([0])
    assert rope_append(qkv, angles(1, 16), first, cache, torch.tensor([5])).isnan().all()
    for stored in (cache.k, cache.v):
        assert stored[1, 0, 1].isnan().all()
        assert stored.isnan().sum() == 16


@jit()
def exp_of(x: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        out[i] = exp_nonpositive(x[i])


def test_exp_is_within_two_units_in_the_last_place() -> None:
    x = -np.concatenate([np.linspace(0, 87, 200_001), np.logspace(-30, 1.9, 10_000)])
    x = x.astype(np.float32)
    out = np.full_like(x, np.nan)
    exp_of(x, out)
    exact = np.exp(x.astype(np.float64))
    errors = np.abs(out - exact) / np.spacing(exact.astype(np.float32))
    assert errors.max() <= 2, f"{errors.max()} units at {x[errors.argmax()]}"
    assert out[0] == 1


def test_exp_far_below_zero_is_zero() -> None:
    x = -np.concatenate([np.linspace(88, 200, 500), np.logspace(2, 38.5, 500)]).astype(np.float32)
    out = np.full_like(x, np.nan)
    exp_of(x, out)
    assert (out == 0).all(), x[out != 0]


@pytest.mark.parametrize(
    ("width", "half", "tokens", "message"),
    [
        (
            120,
            8,
            3,
            r"qkv of width 120 and cos of width 8 do not fit a cache of 2 heads of size 16",
        ),
        (
            128,
            4,
            3,
            r"qkv of width 128 and cos of width 4 do not fit a cache of 2 heads of size 16",
        ),
        (64, 8, 3, r"qkv of width 64 and cos of width 8 do not fit a cache of 2 heads of size 16"),
        (128, 8, 2, r"rope_append: slots has T = 3 in shape \(3,\), expected T = 2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(width: int, half: int, tokens: int, message: str) -> None:
    cache, side = empty_cache(2, 16, torch.float16), torch.ones(tokens, half)
    rotary, positions = Rotary(side, side), torch.arange(tokens)
    with pytest.raises(ValueError, match=message):
        rope_append(torch.ones(tokens, width), rotary, positions, cache, torch.arange(3))


def test_a_cache_has_keys_and_values_of_one_shape() -> None:
    with pytest.raises(ValueError, match=r"cache: v has D = 8 in shape .*, expected D = 16"):
        CacheLayer(torch.zeros(2, 1, 4, 16), torch.zeros(2, 1, 4, 8))


def test_symbols_are_sizes_that_must_agree() -> None:
    x, weight = torch.ones(3, 4), torch.ones(4)
    assert check_shapes("op", "x[T H] weight[H]", x, weight) == {"T": 3, "H": 4}
    with pytest.raises(ValueError, match=r"op: weight has H = 4 in shape \(4,\), expected H = 3"):
        check_shapes("op", "x[H T] weight[H]", x, weight)
    with pytest.raises(ValueError, match=r"op: x must have dimensions \['T'\], its shape is"):
        check_shapes("op", "x[T]", x)
