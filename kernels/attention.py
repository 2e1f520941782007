"""attention: causal, grouped-query, over a paged KV cache (Kwon et al., 2023).

Each sequence of a step brings some query tokens, the last ones of its context. One query token is
a decode and goes to the paged kernel; several are a prefill chunk, whose keys are gathered once
and given to torch's fused attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from kernels.cache_layer import CacheLayer
from kernels.cpu import attention as cpu
from kernels.cuda import attention as cuda
from kernels.product_choice import products
from kernels.shapes import check_shapes


@dataclass(frozen=True, slots=True)
class AttentionBatch:
    """Who attends to what. S sequences, the first `decodes` of them with one query token each.

    block_tables int32[S, blocks]; context_lens int32[S] including this step's tokens;
    query_starts: where each sequence's query tokens begin, S + 1 numbers.

    On CUDA a context_lens of 0 marks a decode that is only padding. What a step's layers share is
    made once: `spans`, what `decode_spans` says, `starts`, query_starts as int32[S + 1] on the
    device, and `tiles` int32[n, 2], what `prefill_tiles` says (they are made at each call where
    they are None).
    """

    block_tables: torch.Tensor
    context_lens: torch.Tensor
    query_starts: tuple[int, ...]
    decodes: int
    starts: torch.Tensor | None = None
    tiles: torch.Tensor | None = None
    spans: torch.Tensor | None = None


def attention(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch) -> torch.Tensor:
    """q[T, Hq, D] -> the same shape and type: fp32 on the CPU, the cache's type on CUDA. Scores are
    scaled by 1/sqrt(D); Hq is a multiple of Hkv. What lies in the cache past a context's length
    has no influence."""
    sizes = check_shapes("attention", "q[T Hq D] k_cache[B Hkv S D]", q, cache.k)
    if sizes["Hq"] % sizes["Hkv"]:
        raise ValueError(
            f"attention: q has Hq = {sizes['Hq']}, expected a multiple of Hkv = {sizes['Hkv']}"
        )
    out = torch.empty_like(q)
    if q.is_cuda:
        _on_cuda(q, cache, batch, out)
    else:
        _on_cpu(q, cache, batch, out)
    return out


def _on_cuda(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch, out: torch.Tensor) -> None:
    tables, lengths = batch.block_tables, batch.context_lens
    cuda.check(q, cache, block_tables=tables, context_lens=lengths)
    n = batch.decodes
    if n:
        spans = batch.spans
        if spans is None:
            spans = decode_spans(lengths[:n], tables, q.shape[1], cache)
        cuda.decode(q[:n], cache, tables, spans, out[:n])
    if n < len(batch.query_starts) - 1:
        starts, tiles = batch.starts, batch.tiles
        if starts is None:
            starts = torch.tensor(batch.query_starts, dtype=torch.int32, device=q.device)
        if tiles is None:
            tiles = prefill_tiles(batch.query_starts, n, q.shape[1], cache).to(q.device)
        cuda.prefill(q, cache, tables, lengths, starts, tiles, out)


def decode_spans(
    context_lens: torch.Tensor, block_tables: torch.Tensor, query_heads: int, cache: CacheLayer
) -> torch.Tensor:
    """AttentionBatch.spans of decodes on a GPU, with contexts int32[S] and tables int32[>=S, W]:
    the same for all layers. What is captured with them reads the contexts at each replay."""
    return cuda.decode_spans(context_lens, block_tables.shape[1], query_heads, cache)


def prefill_tiles(
    query_starts: tuple[int, ...], decodes: int, query_heads: int, cache: CacheLayer
) -> torch.Tensor:
    """AttentionBatch.tiles for the cache's device and head size, int32[n, 2] on the CPU: they are
    the same for all layers. The sequences before `decodes` have none."""
    device = cache.k.device
    group = query_heads // cache.kv_heads
    tiles = cuda.prefill_tiles(query_starts, decodes, group, cache.head, device)
    return torch.tensor(tiles, dtype=torch.int32).view(-1, 2)


def _on_cpu(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch, out: torch.Tensor) -> None:
    if batch.decodes:
        cpu.decode(
            q[: batch.decodes].numpy(),
            cache.k_array,
            cache.v_array,
            batch.block_tables.numpy(),
            batch.context_lens.numpy(),
            products().invariant,
            out.numpy(),
        )
    for i in range(batch.decodes, len(batch.query_starts) - 1):
        start, end = batch.query_starts[i : i + 2]
        out[start:end] = _prefill(q[start:end], *_gather(cache, batch, i))


def _gather(cache: CacheLayer, batch: AttentionBatch, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of sequence i, fp32[Hkv, context, D] each."""
    length = int(batch.context_lens[i])
    blocks = batch.block_tables[i, : -(-length // cache.block_size)].long()
    gathered = (c[blocks].transpose(0, 1).flatten(1, 2)[:, :length] for c in (cache.k, cache.v))
    k, v = (g.float() for g in gathered)
    return k, v


def _prefill(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """q[n, Hq, D] are the last n tokens of the context in k and v [Hkv, context, D]."""
    n, context = q.shape[0], k.shape[1]
    group = q.shape[1] // k.shape[0]
    k, v = (x.repeat_interleave(group, dim=0)[None] for x in (k, v))
    whole = n == context
    mask = None if whole else torch.ones(n, context, dtype=torch.bool).tril(context - n)
    out = functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None], k, v, attn_mask=mask, is_causal=whole
    )
    return out[0].transpose(0, 1)


def reference(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch) -> torch.Tensor:
    """The same, written out: scores, mask, softmax, weighted sum, in q's own precision."""
    out = torch.empty_like(q)
    for i in range(len(batch.query_starts) - 1):
        start, end = batch.query_starts[i : i + 2]
        k, v = (x.to(q.dtype) for x in _gather(cache, batch, i))
        group = q.shape[1] // k.shape[0]
        k, v = (x.repeat_interleave(group, dim=0) for x in (k, v))
        scores = q[start:end].transpose(0, 1) @ k.transpose(1, 2) * q.shape[2] ** -0.5
        n, context = scores.shape[1:]
        future = torch.ones(n, context, dtype=torch.bool).triu(context - n + 1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        out[start:end] = (weights @ v).transpose(0, 1)
    return out
