"""Attention over a paged cache in which everything that must not be read is NaN."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from kernels import AttentionBatch, CacheLayer, attention
from kernels.attention import _gather, reference
from kernels.cpu import attention as cpu
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = pytest.mark.usefixtures("poisoned")

BLOCK = 16
NAN = float("nan")
# Query heads, key and value heads, head size.
HEADS = [(1, 1, 16), (4, 2, 16), (9, 3, 64), (8, 1, 80), (5, 5, 128), (4, 2, 256), (2, 1, 40)]
# Lengths of contexts, around the ends of blocks.
CONTEXTS = (1, 2, 15, 16, 17, 33, 100)


def paged(
    sequences: list[tuple[int, int]],
    heads: tuple[int, int, int],
    dtype: torch.dtype,
    *,
    outliers: bool = False,
) -> tuple[torch.Tensor, CacheLayer, AttentionBatch]:
    """sequences: (context, queries) each; those with one query that come first are decodes. Blocks
    lie in any order. Slots past a context, blocks of nobody and what a table's rest names: NaN."""
    query_heads, kv_heads, size = heads
    counts = [-(-context // BLOCK) for context, _ in sequences]
    total = sum(counts) + 3
    order = torch.randperm(total, generator=torch.Generator().manual_seed(total)).int()
    shape = (total, kv_heads, BLOCK, size)
    k, v = (torch.full(shape, NAN).to(dtype) for _ in range(2))
    tables = torch.full((len(sequences), max(counts) + 1), int(order[-1]), dtype=torch.int32)
    for i, (context, _) in enumerate(sequences):
        tables[i, : counts[i]] = order[sum(counts[:i]) : sum(counts[: i + 1])]
        positions = torch.arange(context)
        blocks, offsets = tables[i][positions // BLOCK].long(), positions % BLOCK
        for layer, seed in (k, i), (v, -1 - i):
            layer[blocks, :, offsets] = random(
                context, kv_heads, size, dtype=dtype, seed=seed, outliers=outliers
            )
    queries = [n for _, n in sequences]
    decodes = next((i for i, n in enumerate(queries) if n > 1), len(queries))
    starts = tuple(sum(queries[:i]) for i in range(len(queries) + 1))
    lengths = torch.tensor([context for context, _ in sequences], dtype=torch.int32)
    q = random(starts[-1], query_heads, size, outliers=False)
    return q, CacheLayer(k, v), AttentionBatch(tables, lengths, starts, decodes)


def sensitivity(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch) -> torch.Tensor:
    """What errors are relative to: the largest value, times what was added up for a score, since
    an error of a score is a factor on its weight. [T, Hq, 1]"""
    scale = torch.empty(*q.shape[:2], 1, dtype=torch.float64)
    for i, (start, end) in enumerate(itertools.pairwise(batch.query_starts)):
        k, v = (x.double().abs() for x in _gather(cache, batch, i))
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[0], dim=0) for x in (k, v))
        scores = q[start:end].double().abs().transpose(0, 1) @ k.transpose(1, 2)
        largest = scores.amax(-1) * q.shape[2] ** -0.5
        scale[start:end, :, 0] = ((1 + largest) * v.amax((1, 2))[:, None]).t()
    return scale


def check(*case: Any) -> None:
    """With numbers of one size, and with keys and values of which some are far larger."""
    for outliers in (False, True):
        batch = paged(*case, outliers=outliers)
        exact, scale = reference(batch[0].double(), *batch[1:]), sensitivity(*batch)
        judge(attention(*batch), reference(*batch), exact, scale, rounding=2.0**-26)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_decodes(dtype: torch.dtype, heads: tuple[int, int, int]) -> None:
    check([(context, 1) for context in CONTEXTS], heads, dtype)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_whole_prompts_and_later_pieces_of_prompts(
    dtype: torch.dtype, heads: tuple[int, int, int]
) -> None:
    check([(2, 2), (40, 40), (40, 7), (17, 16), (33, 17), (100, 2)], heads, dtype)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_decodes_beside_pieces_of_prompts(dtype: torch.dtype, heads: tuple[int, int, int]) -> None:
    check([(17, 1), (1, 1), (20, 9), (33, 33), (48, 1)], heads, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_many_contexts_at_once_and_each_alone_give_the_same_bits(dtype: torch.dtype) -> None:
    """Enough work for the parallel loop, and too little for it."""
    case = [(50 + i, 1) for i in range(12)], (9, 3, 64), dtype
    check(*case)
    q, cache, batch = paged(*case)
    together = attention(q, cache, batch)
    work = int(batch.context_lens.sum()) * 9 * 64
    assert work > cpu.PARALLEL_WORK > work / 4
    for i in range(12):
        tables, lengths = batch.block_tables[i : i + 1], batch.context_lens[i : i + 1]
        alone = attention(q[i : i + 1], cache, AttentionBatch(tables, lengths, (0, 1), 1))
        assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_stored_number_is_read_as_what_it_is(dtype: torch.dtype) -> None:
    """Over a context of one token attention gives back its value."""
    stored = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    stored = torch.where(stored.isfinite(), stored, torch.zeros((), dtype=dtype))
    values = stored.view(64, 4, 1, 256)
    cache = CacheLayer(torch.zeros_like(values), values)
    tables, lengths = torch.arange(64, dtype=torch.int32)[:, None], torch.ones(64).int()
    batch = AttentionBatch(tables, lengths, tuple(range(65)), 64)
    out = attention(torch.ones(64, 4, 256), cache, batch)
    assert torch.equal(out, values[:, :, 0].float())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_score_far_above_the_others_takes_all(dtype: torch.dtype) -> None:
    """Scores of hundreds, whose e to the x is out of range."""
    q, cache, batch = paged([(40, 1), (40, 3)], (4, 2, 16), dtype)
    cache.k[batch.block_tables[:2, 1].long(), :, 5] = 60.0
    q[:] = 10.0
    out = attention(q, cache, batch)
    values = cache.v[batch.block_tables[:2, 1].long(), :, 5].float().repeat_interleave(2, dim=1)
    assert torch.equal(out[0], values[0])
    assert torch.allclose(out[1:], values[1].expand(3, 4, 16))


def test_a_context_of_nan_leaves_the_others_alone() -> None:
    """One request whose numbers have overflowed, beside others in the same step."""
    q, cache, batch = paged([(20, 1), (33, 1), (17, 1)], (4, 2, 16), torch.float16)
    before = attention(q, cache, batch)
    cache.k[batch.block_tables[1, :3].long()] = NAN
    cache.v[batch.block_tables[1, :3].long()] = NAN
    after = attention(q, cache, batch)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert after[1].isnan().all()


def test_decode_writes_its_own_outputs_only() -> None:
    q, cache, batch = paged([(20, 1), (33, 1)], (4, 2, 16), torch.bfloat16)
    out = torch.full((3, 4, 16), NAN)
    arrays = cache.k_array, cache.v_array, batch.block_tables.numpy(), batch.context_lens.numpy()
    cpu.decode(q.numpy(), *arrays, False, out.numpy())
    assert out[:2].isfinite().all()
    assert out[2].isnan().all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4, 8), r"attention: k_cache has D = 16 in shape .*, expected D = 8"),
        ((3, 64), r"attention: q must have dimensions \['T', 'Hq', 'D'\], its shape is \(3, 64\)"),
        ((3, 5, 16), "attention: q has Hq = 5, expected a multiple of Hkv = 2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape: tuple[int, ...], message: str) -> None:
    _, cache, batch = paged([(20, 1), (33, 2)], (4, 2, 16), torch.float16)
    with pytest.raises(ValueError, match=message):
        attention(torch.ones(shape), cache, batch)
