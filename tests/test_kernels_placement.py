"""The CPU's kernels give the same bits wherever in memory their arrays lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import kernels
from kernels.cpu import attention, matmul_transb, rms_norm, rope_append, silu_mul
from kernels.cpu.jit import Array
from tests.kernel_cases import random

PLACEMENTS = 60
STORED = [np.float32, np.uint16, np.int16]
"""fp32, and what a kernel gets for fp16 and bf16."""
NO_ROW = np.empty(0, np.float32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    kernels.set_threads(1)


def numbers(*shape: int, seed: int = 0) -> Array:
    return random(*shape, seed=seed).numpy()


def stored(dtype: type, *shape: int) -> Array:
    """Small numbers as a cache of this type holds them."""
    values = numbers(*shape, seed=3)
    if dtype is np.uint16:
        return values.astype(np.float16).view(dtype)
    if dtype is np.int16:
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(dtype)
    return values


def placed(arrays: Sequence[Array], draw: np.random.Generator) -> list[Array]:
    """Copies that lie side by side in one piece of memory, in any order, with gaps or without."""
    gaps = [4 * int(draw.integers(24) * draw.integers(2)) for _ in arrays]
    room = np.zeros(sum(array.nbytes + 8 for array in arrays) + sum(gaps), np.uint8)
    copies, end = list(arrays), 0
    for index in draw.permutation(len(arrays)):
        array, start = arrays[index], end + -end % 8 + gaps[index]
        end = start + array.nbytes
        copies[index] = room[start:end].view(array.dtype).reshape(array.shape)
        copies[index][...] = array
    return copies


def assert_alike_everywhere(kernel: Callable[..., None], *arrays: Array, outputs: int = 1) -> None:
    """outputs: how many of the arrays, the last ones, the kernel writes."""
    draw = np.random.default_rng(0)
    seen = set()
    for _ in range(PLACEMENTS):
        copies = placed(arrays, draw)
        kernel(*copies)
        seen.add(b"".join(copy.tobytes() for copy in copies[-outputs:]))
    assert len(seen) == 1


@pytest.mark.parametrize("size", [3, 8, 19, 31, 64, 100])
def test_norm_and_silu(size: int) -> None:
    def norm(x: Array, weight: Array, out: Array) -> None:
        rms_norm.rms_norm(x, weight, 1e-5, out)

    out = np.zeros((5, size), np.float32)
    assert_alike_everywhere(norm, numbers(5, size), numbers(size), out)
    assert_alike_everywhere(silu_mul.silu_mul, numbers(5, 2 * size), out)


@pytest.mark.parametrize("inputs", [8, 31, 70])
def test_products(inputs: int) -> None:
    def one(x: Array, weight: Array, w: Array, residual: Array, out: Array) -> None:
        matmul_transb.matvec(x, weight, 1e-5, (w,), residual, False, out)

    def gated(x: Array, weight: Array, w: Array, out: Array) -> None:
        matmul_transb.matvec(x, weight, 1e-5, (w,), NO_ROW, True, out)

    def several(x: Array, w: Array, residual: Array, out: Array) -> None:
        matmul_transb.matmul(x, (w,), residual, out)

    row, weight, w = numbers(inputs), numbers(inputs, seed=1), numbers(38, inputs, seed=2)
    assert_alike_everywhere(one, row, weight, w, numbers(38), np.zeros(38, np.float32))
    assert_alike_everywhere(gated, row, weight, w, np.zeros(19, np.float32))
    rows = (numbers(8, inputs), w, numbers(8, 38), np.zeros((8, 38), np.float32))
    assert_alike_everywhere(several, *rows)


@pytest.mark.parametrize("invariant", [False, True])
@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("size", [8, 64])
def test_rotation_and_attention(size: int, dtype: type, invariant: bool) -> None:
    def rope(qkv: Array, cos: Array, sin: Array, k: Array, v: Array, q: Array) -> None:
        rope_append.rope_append(qkv, cos, sin, positions, k, v, slots, invariant, q)

    def decode(q: Array, k: Array, v: Array, out: Array) -> None:
        attention.decode(q, k, v, tables, lengths, invariant, out)

    positions, slots = np.array([0, 2, 4]), np.array([0, 3, 5])
    empty: Array = np.zeros((2, 1, 4, size), dtype)
    q = np.zeros((3, 2, size), np.float32)
    turned = (numbers(5, size // 2, seed=1), numbers(5, size // 2, seed=2))
    assert_alike_everywhere(rope, numbers(3, 4 * size), *turned, empty, empty, q, outputs=3)
    tables, lengths = np.array([[0, 1], [2, 3]], np.int32), np.array([5, 8], np.int32)
    cache = stored(dtype, 4, 1, 4, size)
    out = np.zeros((2, 2, size), np.float32)
    assert_alike_everywhere(decode, numbers(2, 2, size), cache, cache, out)
