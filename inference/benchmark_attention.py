"""Cases of attention: decodes over contexts of several lengths, and prompts. Beside each torch's
scaled_dot_product_attention, on keys and values that are not paged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn import functional

import kernels
from inference.kernel_benchmarks import Case, Named, Sizes

_BLOCK = 16


def cases(sizes: Sizes) -> Iterator[Named]:
    for heads in sizes.heads:
        for sequences, context in sizes.contexts:
            name = f"decode attention {_written(heads)}, {sequences} x {context} tokens"
            yield name, partial(_decode, heads, sequences, context, sizes)
    for tokens in sizes.prompts:
        name = f"prefill attention {_written(sizes.heads[0])}, {tokens} tokens"
        yield name, partial(_prefill, sizes.heads[0], tokens, sizes)


def _written(heads: tuple[int, int, int]) -> str:
    return "{}/{}/{}".format(*heads)


def _decode(heads: tuple[int, int, int], sequences: int, context: int, sizes: Sizes) -> Case:
    query_heads, kv_heads, head = heads
    size = 2 * sequences * context * kv_heads * head * sizes.dtype.itemsize
    cache, tables = _filled(heads, sequences, context, sizes.copies(size), sizes)
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=sizes.device)
    q = sizes.random(sequences, query_heads, head)
    starts = tuple(range(sequences + 1))
    batches = [kernels.AttentionBatch(table, lengths, starts, sequences) for table in tables]

    def torchs(table: torch.Tensor) -> partial[torch.Tensor]:
        k, v = (_gathered(part, table, context) for part in (cache.k, cache.v))
        return partial(_by_torch, q[:, :, None], k, v)

    def exact() -> torch.Tensor:
        k, v = (_gathered(part, tables[0], context).double() for part in (cache.k, cache.v))
        grouped = q.double().view(sequences, kv_heads, -1, head)
        weights = (grouped @ k.transpose(-1, -2) * head**-0.5).softmax(-1)
        attended: torch.Tensor = weights @ v
        return attended.flatten(1, 2)

    return Case(
        ours=[partial(kernels.attention, q, cache, batch) for batch in batches],
        torchs=[torchs(table) for table in tables],
        exact=exact,
        torch_result=lambda: torchs(tables[0])()[:, :, 0],
        work=size + 2 * q.nbytes,
    )


def _prefill(heads: tuple[int, int, int], tokens: int, sizes: Sizes) -> Case:
    query_heads, kv_heads, head = heads
    cache, tables = _filled(heads, 1, tokens, 1, sizes)
    q = sizes.random(tokens, query_heads, head)
    lengths = torch.full((1,), tokens, dtype=torch.int32, device=sizes.device)
    batch = kernels.AttentionBatch(tables[0], lengths, (0, tokens), 0)
    if q.is_cuda:  # made here: a graph may not ask the host
        tiles = kernels.prefill_tiles((0, tokens), 0, query_heads, cache).to(sizes.device)
        starts = torch.tensor([0, tokens], dtype=torch.int32, device=sizes.device)
        batch = kernels.AttentionBatch(tables[0], lengths, (0, tokens), 0, starts, tiles)
    k, v = (_gathered(part, tables[0], tokens) for part in (cache.k, cache.v))
    queries = q.transpose(0, 1)[None]

    def exact() -> torch.Tensor:
        """A group of query heads at a time: all scores at once would not fit."""
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=sizes.device).triu(1)
        groups = q.double().transpose(0, 1).chunk(kv_heads)
        parts = []
        for i, group in enumerate(groups):
            scores = group @ k[0, i].double().t() * head**-0.5
            weights = scores.masked_fill_(future, float("-inf")).softmax(-1)
            parts.append(weights @ v[0, i].double())
        return torch.cat(parts).transpose(0, 1)

    return Case(
        ours=[partial(kernels.attention, q, cache, batch)],
        torchs=[partial(_by_torch, queries, k, v, is_causal=True)],
        exact=exact,
        torch_result=lambda: _by_torch(queries, k, v, is_causal=True)[0].transpose(0, 1),
        work=2 * query_heads * head * tokens * (tokens + 1),
        is_products=True,
    )


def _filled(
    heads: tuple[int, int, int], sequences: int, context: int, copies: int, sizes: Sizes
) -> tuple[kernels.CacheLayer, torch.Tensor]:
    """A cache full of random numbers, and block tables int32[copies, sequences, blocks] that share
    its blocks out in no order."""
    _, kv_heads, head = heads
    width = -(-context // _BLOCK)
    count = copies * sequences * width
    k, v = (sizes.random(count, kv_heads, _BLOCK, head) for _ in range(2))
    tables = torch.randperm(count, device=sizes.device).int().view(copies, sequences, width)
    return kernels.CacheLayer(k, v), tables


def _gathered(part: torch.Tensor, table: torch.Tensor, context: int) -> torch.Tensor:
    """Keys or values [blocks, Hkv, 16, D] of table [S, W] -> [S, Hkv, context, D]."""
    return part[table.long()].transpose(1, 2).flatten(2, 3)[:, :, :context].contiguous()


def _by_torch(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool = False
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal, enable_gqa=True)
