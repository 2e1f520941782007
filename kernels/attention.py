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
from kernels.shapes import check_shapes


@dataclass(frozen=True, slots=True)
class AttentionBatch:
    """Who attends to what. S sequences, the first `decodes` of them with one query token each.

    block_tables int32[S, blocks]; context_lens int32[S] including this step's tokens;
    query_starts: where each sequence's query tokens begin, S + 1 numbers.
    """

    block_tables: torch.Tensor
    context_lens: torch.Tensor
    query_starts: tuple[int, ...]
    decodes: int


def attention(q: torch.Tensor, cache: CacheLayer, batch: AttentionBatch) -> torch.Tensor:
    """q fp32[T, Hq, D] -> fp32[T, Hq, D]. Scores are scaled by 1/sqrt(D); Hq is a multiple of
    Hkv. What lies in the cache past a context's length is never read."""
    sizes = check_shapes("attention", "q[T Hq D] k_cache[B Hkv S D]", q, cache.k)
    if sizes["Hq"] % sizes["Hkv"]:
        raise ValueError(
            f"attention: q has Hq = {sizes['Hq']}, expected a multiple of Hkv = {sizes['Hkv']}"
        )
    out = torch.empty_like(q)
    if batch.decodes:
        cpu.decode(
            q[: batch.decodes].numpy(),
            cache.k_array,
            cache.v_array,
            batch.block_tables.numpy(),
            batch.context_lens.numpy(),
            out.numpy(),
        )
    for i in range(batch.decodes, len(batch.query_starts) - 1):
        start, end = batch.query_starts[i : i + 2]
        out[start:end] = _prefill(q[start:end], *_gather(cache, batch, i))
    return out


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
