"""rms_norm, silu_mul, embedding and rope_append on a GPU: against float64 and beside torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kernels.cache_layer import CacheLayer
from kernels.embedding import embedding
from kernels.embedding import reference as embedding_reference
from kernels.rms_norm import Norm, rms_norm
from kernels.rms_norm import reference as norm_reference
from kernels.rope_append import Rotary, rope_append
from kernels.rope_append import reference as rope_reference
from kernels.silu_mul import reference as gate_reference
from kernels.silu_mul import silu_mul
from tests.kernel_cases import DTYPES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]

NAN = float("nan")
# Query heads, key/value heads, size of a head.
HEADS = [(1, 1, 16), (9, 3, 64), (3, 1, 80), (32, 8, 128), (2, 2, 256)]
ROWS = (1, 3, 33)
BLOCKS, BLOCK_SIZE = 12, 16
# The GPU's fast exponential is off by up to 2 + 1.2·|x| units in the last place.
EXP_ROUNDING = 2.0**-21


def on_gpu(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return random(*shape, dtype=dtype, seed=seed).cuda()


def integers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64, device="cuda")


def empty_cache(kv_heads: int, size: int, dtype: torch.dtype) -> CacheLayer:
    shape = (BLOCKS, kv_heads, BLOCK_SIZE, size)
    k, v = (torch.full(shape, NAN, dtype=dtype, device="cuda") for _ in range(2))
    return CacheLayer(k, v)


def rotary_of(size: int, positions: int = 500) -> Rotary:
    turned = torch.outer(torch.arange(positions) * 1.0, 100 ** -torch.linspace(0, 1, size // 2))
    return Rotary(turned.cos().cuda(), turned.sin().cuda())


def double(rotary: Rotary) -> Rotary:
    return Rotary(rotary.cos.double(), rotary.sin.double())


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("size", [8, 576, 1032, 4096, 16384])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rms_norm(dtype: torch.dtype, size: int, rows: int) -> None:
    norm = Norm(random(size, dtype=dtype), 1e-5, device="cuda")
    x = on_gpu(rows, size)
    out = rms_norm(x, norm, dtype=dtype)
    assert out.dtype == dtype
    judge(out, norm_reference(x, norm).to(dtype), norm_reference(x.double(), norm))


def test_rms_norm_of_zeros_and_tiny_numbers() -> None:
    """eps is what is left of the mean."""
    norm = Norm(torch.ones(64), 1e-5, device="cuda")
    x = torch.stack([torch.zeros(64), torch.full((64,), 1e-20)]).cuda()
    judge(rms_norm(x, norm), norm_reference(x, norm), norm_reference(x.double(), norm))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("inner", [8, 1032, 1536, 8192])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_silu_mul(dtype: torch.dtype, inner: int, rows: int) -> None:
    # outliers on one side only: the product of two is more than fp16 holds
    sides = random(rows, inner), random(rows, inner, seed=1, outliers=False)
    gate_up = torch.cat(sides, dim=1).to(dtype).cuda()
    out = silu_mul(gate_up)
    assert out.dtype == dtype
    exact = gate_reference(gate_up.double())
    judge(out, gate_reference(gate_up), exact, rounding=EXP_ROUNDING)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gate_far_below_zero_is_shut(dtype: torch.dtype) -> None:
    gates, ups = torch.full((2, 8), -60000.0), torch.full((2, 8), 2.0)
    out = silu_mul(torch.cat([gates, ups], dim=1).to(dtype).cuda())
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize("hidden", [8, 576, 4104])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_embedding(dtype: torch.dtype, hidden: int) -> None:
    table = on_gpu(50, hidden, dtype=dtype)
    ids = integers(49, 0, 7, 7, 23)
    assert torch.equal(embedding(table, ids), table[ids].float())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_embedding_of_tokens_that_only_the_gpu_knows(dtype: torch.dtype) -> None:
    table = on_gpu(50, 64, dtype=dtype)
    sampled = torch.tensor([31, 4, 49], dtype=torch.int32, device="cuda")
    out = embedding(table, integers(-1, 5, -3, -2, 0), sampled)
    assert torch.equal(out, table[integers(31, 5, 49, 4, 0)].float())
    assert torch.equal(out, embedding_reference(table, integers(-1, 5, -3, -2, 0), sampled))


@pytest.mark.parametrize("tokens", ROWS)
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rope_append(dtype: torch.dtype, heads: tuple[int, int, int], tokens: int) -> None:
    query_heads, kv_heads, size = heads
    qkv = on_gpu(tokens, (query_heads + 2 * kv_heads) * size, dtype=dtype)
    rotary = rotary_of(size)
    generator = torch.Generator().manual_seed(tokens)
    positions = torch.randint(500, (tokens,), generator=generator).cuda()
    slots = torch.randperm(BLOCKS * BLOCK_SIZE, generator=generator)[:tokens].cuda()
    ours, torchs = (empty_cache(kv_heads, size, dtype) for _ in range(2))
    exact = empty_cache(kv_heads, size, torch.float64)
    q = rope_append(qkv, rotary, positions, ours, slots)
    torchs_q = rope_reference(qkv, rotary, positions, torchs, slots).to(dtype)
    exact_q = rope_reference(qkv.double(), double(rotary), positions, exact, slots)
    judge(q, torchs_q, exact_q)
    live = exact.k.isfinite()
    assert live.sum() == tokens * kv_heads * size
    assert torch.equal(ours.k.isfinite(), live)
    assert torch.equal(ours.v.isfinite(), live)
    judge(*(layer.k[live].view(-1, size) for layer in (ours, torchs, exact)))
    assert torch.equal(ours.v[live], torchs.v[live])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_without_a_slot_leave_the_cache_alone(dtype: torch.dtype) -> None:
    qkv, rotary = on_gpu(4, 4 * 64, dtype=dtype), rotary_of(64)
    ours, torchs = (empty_cache(1, 64, dtype) for _ in range(2))
    positions, slots = integers(3, 0, 9, 0), integers(17, -1, 0, -1)
    q = rope_append(qkv, rotary, positions, ours, slots)
    expected = rope_reference(qkv.float(), rotary, positions, torchs, slots)
    torch.testing.assert_close(q.float(), expected, rtol=0.01, atol=0.01)
    for mine, theirs in ((ours.k, torchs.k), (ours.v, torchs.v)):
        assert torch.equal(mine.isnan(), theirs.isnan())
        assert mine.isfinite().sum() == 2 * 64


def test_no_rows_give_no_rows() -> None:
    norm, table = Norm(torch.ones(64), 1e-5, device="cuda"), on_gpu(5, 64)
    none = torch.empty(0, 256, device="cuda")
    assert rms_norm(none[:, :64], norm).shape == (0, 64)
    assert silu_mul(none).shape == (0, 128)
    assert embedding(table, integers()).shape == (0, 64)
    cache = empty_cache(1, 64, torch.float32)
    assert rope_append(none, rotary_of(64), integers(), cache, integers()).shape == (0, 2, 64)


def test_rows_that_lie_beyond_32_bits() -> None:
    """An embedding and a cache of more than 2^31 numbers."""
    if torch.cuda.mem_get_info()[0] < 16 << 30:
        pytest.skip("needs 16 GB of free GPU memory")
    torch.use_deterministic_algorithms(False)  # or torch would fill all of it
    table = torch.empty(2**18 + 8, 8192, dtype=torch.float16, device="cuda")
    table[-1] = on_gpu(8192, dtype=torch.float16)
    assert torch.equal(embedding(table, integers(2**18 + 7))[0], table[-1].float())
    k = table.view(-1, 8, BLOCK_SIZE, 64)
    cache, slot = CacheLayer(k, torch.empty_like(k)), k.shape[0] * BLOCK_SIZE - 1
    qkv = on_gpu(1, 24 * 64, dtype=torch.float16)
    rope_append(qkv, rotary_of(64), integers(0), cache, integers(slot))
    assert torch.equal(cache.k[-1, :, -1].flatten(), qkv[0, 8 * 64 : 16 * 64])
    assert torch.equal(cache.v[-1, :, -1].flatten(), qkv[0, 16 * 64 :])


def test_a_graph_replays_them_on_new_values() -> None:
    norm, table, rotary = Norm(torch.ones(256), 1e-5, device="cuda"), on_gpu(50, 256), rotary_of(64)
    ids, slots = integers(3, -1), integers(5, -1)
    sampled = torch.tensor([7], dtype=torch.int32, device="cuda")
    cache, other = empty_cache(1, 64, torch.bfloat16), empty_cache(1, 64, torch.bfloat16)

    def step(cache: CacheLayer) -> tuple[torch.Tensor, torch.Tensor]:
        act = rms_norm(embedding(table, ids, sampled), norm, dtype=torch.bfloat16)
        return rope_append(act, rotary, slots.clamp(min=0), cache, slots), silu_mul(act)

    step(other)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(cache)
    ids[0], sampled[0], slots[1] = 40, 8, 33
    graph.replay()
    for ours, expected in zip(captured, step(other), strict=True):
        assert torch.equal(ours, expected)
    for slot in (5, 33):
        at = (slot // BLOCK_SIZE, 0, slot % BLOCK_SIZE)
        assert torch.equal(cache.k[at], other.k[at])
        assert torch.equal(cache.v[at], other.v[at])


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: silu_mul(on_gpu(2, 24)), r"silu_mul: I = 12, expected a multiple of 8"),
    (
        lambda: silu_mul(on_gpu(32, 4).t()),
        r"silu_mul: gate_up has strides \(1, 4\) for shape \(4, 32\), expected rows without gaps",
    ),
    (
        lambda: rms_norm(on_gpu(1, 16392), Norm(torch.ones(16392), 1e-5, device="cuda")),
        r"rms_norm: H = 16392, at most 16384 is supported",
    ),
    (
        lambda: rms_norm(on_gpu(1, 8).half(), Norm(torch.ones(8), 1e-5, device="cuda")),
        r"rms_norm: x is torch.float16, expected torch.float32",
    ),
    (
        lambda: embedding(on_gpu(5, 64), integers(1).int()),
        r"embedding: ids is torch.int32, expected torch.int64",
    ),
    (
        lambda: rope_append(
            on_gpu(1, 192), rotary_of(64), integers(0), empty_cache(1, 64, torch.half), integers(0)
        ),
        r"rope_append: qkv is torch.float32, expected torch.float16",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_a_kernel_would_misread_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
