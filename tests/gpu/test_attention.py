"""Attention on a GPU, over a paged cache in which everything that must not be read is NaN."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

import kernels
from kernels.attention import AttentionBatch, attention, prefill_tiles, reference
from kernels.cache_layer import CacheLayer
from kernels.cuda import attention as cuda
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned
from tests.test_kernels_attention import paged, sensitivity

__all__ = ["poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]

NAN = float("nan")
# Query heads, key and value heads, head size.
HEADS = [
    *((1, 1, 16), (9, 3, 64), (8, 1, 80), (32, 8, 128), (4, 1, 256)),
    *((18, 2, 48), (7, 1, 112)),
]
# Around the ends of blocks, spans, and spans that are merged at once.
CONTEXTS = (1, 15, 16, 17, 100, 127, 128, 129, 257, 600, cuda.SPAN * cuda.FAN + 1)
PROMPTS = [(2, 2), (40, 40), (40, 7), (63, 63), (64, 64), (65, 17), (333, 150), (300, 300)]
MIXED = [(17, 1), (1, 1), (300, 1), (20, 9), (33, 33), (48, 1)]
# The GPU's power of two is off by two units in the last place, and weights are sums of many.
ROUNDING = 2.0**-21

Case = tuple[torch.Tensor, CacheLayer, AttentionBatch]


@pytest.fixture
def invariant() -> Iterator[None]:
    kernels.use_products(kernels.Products(invariant=True))
    yield
    kernels.use_products(kernels.Products())


def on_gpu(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch) -> Case:
    return (
        q.to("cuda", cache.k.dtype),
        CacheLayer(cache.k.cuda(), cache.v.cuda()),
        dataclasses.replace(
            batch, block_tables=batch.block_tables.cuda(), context_lens=batch.context_lens.cuda()
        ),
    )


def check(
    sequences: list[tuple[int, int]], heads: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """With numbers of one size, and with keys and values of which some are far larger."""
    for outliers in (False, True):
        q, cache, batch = paged(sequences, heads, dtype, outliers=outliers)
        q = q.to(dtype)
        ours = attention(*on_gpu(q, cache, batch))
        assert ours.dtype == dtype
        exact, scale = reference(q.double(), cache, batch), sensitivity(q, cache, batch)
        judge(ours.cpu(), reference(q, cache, batch), exact, scale, rounding=ROUNDING)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_decodes(dtype: torch.dtype, heads: tuple[int, int, int]) -> None:
    check([(context, 1) for context in CONTEXTS], heads, dtype)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_whole_prompts_and_later_pieces_of_prompts(
    dtype: torch.dtype, heads: tuple[int, int, int]
) -> None:
    check(PROMPTS, heads, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_decodes_beside_pieces_of_prompts(dtype: torch.dtype) -> None:
    check(MIXED, (9, 3, 64), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_context_of_which_each_warp_has_many_blocks(dtype: torch.dtype) -> None:
    check([(5 * cuda.SPAN * cuda.FAN + 1, 1)], (2, 1, 16), dtype)


@pytest.mark.parametrize("heads", [(9, 3, 64), (4, 1, 128), (2, 1, 256)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_many_contexts_whose_spans_grow_with_them(
    dtype: torch.dtype, heads: tuple[int, int, int]
) -> None:
    check([(23 * i + 1, 1) for i in range(70)], heads, dtype)


@pytest.mark.usefixtures("invariant")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_result_depends_on_its_own_context_alone(dtype: torch.dtype) -> None:
    """Together, alone, and in a batch of more sequences than one launch takes: the same bits, also
    when it is done again, whichever block comes last."""
    contexts = [50 + 37 * i for i in range(100)] + [5000]
    q, cache, batch = on_gpu(*paged([(n, 1) for n in contexts], (9, 3, 64), dtype))
    together = attention(q, cache, batch)
    for _ in range(20):
        assert torch.equal(attention(q, cache, batch), together)
    tables, lengths = batch.block_tables, batch.context_lens
    for i in (0, 50, 100):
        rows = slice(i, i + 1)
        alone = AttentionBatch(tables[rows], lengths[rows], (0, 1), 1)
        assert torch.equal(attention(q[rows], cache, alone), together[rows])
    many = AttentionBatch(tables.repeat(6, 1), lengths.repeat(6), tuple(range(607)), 606)
    assert torch.equal(attention(q.repeat(6, 1, 1), cache, many), together.repeat(6, 1, 1))


@pytest.mark.parametrize("heads", [(9, 3, 64), (8, 2, 128), (2, 1, 256)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_prompt_cut_into_pieces_gives_the_same_bits(
    dtype: torch.dtype, heads: tuple[int, int, int]
) -> None:
    q, cache, batch = on_gpu(*paged([(500, 500)], heads, dtype))
    whole = attention(q, cache, batch)
    for size in (17, 64, 100, 499):
        for start in range(0, 500, size):
            end = min(500, start + size)
            lengths = torch.tensor([end], dtype=torch.int32, device="cuda")
            piece = AttentionBatch(batch.block_tables, lengths, (0, end - start), 0)
            assert torch.equal(attention(q[start:end], cache, piece), whole[start:end])


def test_rows_of_padding_become_zeros_and_their_tables_are_not_read() -> None:
    q, cache, batch = on_gpu(*paged([(20, 1), (300, 1), (7, 1)], (4, 2, 16), torch.float16))
    tables = torch.full((6, batch.block_tables.shape[1]), 2**30, dtype=torch.int32, device="cuda")
    lengths = torch.zeros(6, dtype=torch.int32, device="cuda")
    padded = torch.full((6, 4, 16), NAN, dtype=torch.float16, device="cuda")
    live = torch.tensor([1, 3, 4], device="cuda")
    padded[live], lengths[live], tables[live] = q, batch.context_lens, batch.block_tables
    out = attention(padded, cache, AttentionBatch(tables, lengths, tuple(range(7)), 6))
    assert torch.equal(out[live], attention(q, cache, batch))
    assert (out[[0, 2, 5]] == 0).all()


def test_a_captured_graph_follows_contexts_that_grow() -> None:
    """Also after another shape has asked for more scratch memory."""
    cuda._held.clear()
    q, cache, batch = on_gpu(*paged([(3000, 1), (40, 1)], (9, 3, 64), torch.bfloat16))
    lengths = batch.context_lens.clone()
    static = dataclasses.replace(batch, context_lens=lengths)
    attention(q, cache, static)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = attention(q, cache, static)
    for first, second in ((3000, 40), (1, 0), (129, 40), (2049, 17)):
        lengths.copy_(torch.tensor([first, second]))
        graph.replay()
        assert torch.equal(out, attention(q, cache, static))
        larger = static.block_tables.repeat(50, 1), lengths.repeat(50)
        wide = AttentionBatch(*larger, tuple(range(101)), 100)
        attention(q.repeat(50, 1, 1), cache, wide)


def test_scratch_memory_cannot_be_made_during_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda._held.clear()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="run the same shapes once before"):
        attention(*on_gpu(*paged([(300, 1)], (4, 2, 16), torch.float16)))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_stored_number_is_read_as_what_it_is(dtype: torch.dtype) -> None:
    """Over a context of one token attention gives back its value; numbers that are denormal in fp32
    may be taken for zeros, as the GPU's fast arithmetic does."""
    stored = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    stored = torch.where(stored.isfinite(), stored, torch.zeros((), dtype=dtype))
    values = torch.full((64, 4, 16, 256), NAN, dtype=dtype)
    values[:, :, 0] = stored.view(64, 4, 256)
    cache = CacheLayer(torch.zeros_like(values).cuda(), values.cuda())
    tables = torch.arange(64, dtype=torch.int32, device="cuda")[:, None]
    lengths = torch.ones(64, dtype=torch.int32, device="cuda")
    q = torch.ones(64, 4, 256, dtype=dtype, device="cuda")
    for decodes in (64, 0):
        batch = AttentionBatch(tables, lengths, tuple(range(65)), decodes)
        out = attention(q, cache, batch).cpu().float()
        smallest = torch.finfo(torch.float32).tiny
        expected = values[:, :, 0].float()
        wrong = (out != expected) & ~((out == 0) & (expected.abs() < smallest))
        assert not wrong.any(), (out[wrong], expected[wrong])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_score_far_above_the_others_takes_all(dtype: torch.dtype) -> None:
    """Scores of hundreds, whose e to the x is out of range."""
    q, cache, batch = on_gpu(*paged([(40, 1), (40, 3)], (4, 2, 16), dtype))
    cache.k[batch.block_tables[:2, 1].long(), :, 5] = 60.0
    q[:] = 10.0
    out = attention(q, cache, batch)
    values = cache.v[batch.block_tables[:2, 1].long(), :, 5].repeat_interleave(2, dim=1)
    assert torch.equal(out[0], values[0])
    assert torch.equal(out[1:], values[1].expand(3, 4, 16))


@pytest.mark.parametrize("queries", [1, 5])
def test_a_context_of_nan_leaves_the_others_alone(queries: int) -> None:
    case = [(20, queries), (33, queries), (17, queries)]
    q, cache, batch = on_gpu(*paged(case, (4, 2, 16), torch.float16))
    before = attention(q, cache, batch).view(3, queries, 4, 16)
    for layer in (cache.k, cache.v):
        layer[batch.block_tables[1, :3].long()] = NAN
    after = attention(q, cache, batch).view(3, queries, 4, 16)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert after[1].isnan().all()


def test_tiles_made_once_serve_all_layers() -> None:
    q, cache, batch = on_gpu(*paged(MIXED, (9, 3, 64), torch.bfloat16))
    starts = torch.tensor(batch.query_starts, dtype=torch.int32, device="cuda")
    tiles = prefill_tiles(batch.query_starts, batch.decodes, 9, cache).cuda()
    prepared = dataclasses.replace(batch, starts=starts, tiles=tiles)
    assert torch.equal(attention(q, cache, prepared), attention(q, cache, batch))


def test_what_the_kernels_cannot_read_is_refused() -> None:
    q, cache, batch = on_gpu(*paged([(20, 1)], (4, 2, 16), torch.float16))
    with pytest.raises(ValueError, match=r"attention: k_cache is torch.float16, expected"):
        attention(q.float(), cache, batch)
    with pytest.raises(ValueError, match=r"attention: context_lens is torch.int64, expected"):
        attention(q, cache, dataclasses.replace(batch, context_lens=batch.context_lens.long()))
    odd = [torch.zeros(2, 2, 16, 24, dtype=torch.float16, device="cuda") for _ in range(2)]
    with pytest.raises(ValueError, match="attention: D = 24, expected a multiple of 16"):
        attention(odd[0][0, :, :1].view(1, 2, 24), CacheLayer(*odd), batch)
