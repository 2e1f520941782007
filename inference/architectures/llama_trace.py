"""The forward pass of `inference.architectures.llama` once more, written out so that every number
on the way can be looked at: the same weights and products, attention in plain torch without a
cache. A test compares its logits with the engine's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.architectures.llama import LlamaLayer
    from inference.config import ModelConfig


@dataclass(frozen=True, slots=True)
class TracedParts:
    """What a model consists of."""

    config: ModelConfig
    embedding: torch.Tensor
    layers: Sequence[LlamaLayer]
    norm: kernels.Norm
    head: kernels.Matrices
    rotary: kernels.Rotary


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """One layer and head, fp32, of T tokens. Of the last token: before and after: the residual
    stream fp32[H]; scale: what the norm divided it by; normed[H]; gated: inside the feed-forward.
    query, key, value, rotated (the query): [T, D]. attention[T, T]."""

    before: torch.Tensor
    scale: float
    normed: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    rotated: torch.Tensor
    attention: torch.Tensor
    gated: torch.Tensor
    after: torch.Tensor


@dataclass(frozen=True, slots=True)
class TracedPass:
    """Of the last token. embedding fp32[H]; residual: root mean square of the stream, first of the
    embedding, then after each half layer; angles fp32[T]: of the first pair, by position; logits
    fp32[V]."""

    embedding: torch.Tensor
    layer: TracedLayer
    residual: list[float]
    angles: torch.Tensor
    logits: torch.Tensor


def traced(parts: TracedParts, token_ids: torch.Tensor, layer: int, head: int) -> TracedPass:
    """token_ids int64[T], on the model's device. Everything that is returned is on the host."""
    hidden = kernels.embedding(parts.embedding, token_ids, None)
    embedding, residual = hidden[-1].float().cpu(), [_size(hidden)]
    shown: TracedLayer | None = None
    cos, sin = parts.rotary.cos[: len(token_ids)], parts.rotary.sin[: len(token_ids)]
    for index, weights in enumerate(parts.layers):
        before = hidden.clone()
        heads = _Heads.of(weights, parts.config, hidden, cos, sin)
        attended = heads.attended().to(heads.dtype).contiguous()
        middle = weights.attention_out(attended, residual=hidden.clone())
        gated = weights.gate_up.gated(middle, weights.mlp_norm)
        hidden = weights.down(gated, residual=middle.clone())
        residual += [_size(middle), _size(hidden)]
        if index == layer:
            shown = _shown(weights.attention_norm, heads, head, before, gated, hidden)
    assert shown is not None
    logits = kernels.matmul_transb(hidden[-1:], parts.head, norm=parts.norm, wide=True)
    angles = torch.atan2(sin[:, 0], cos[:, 0]).cpu()
    return TracedPass(embedding, shown, residual, angles, logits[0].cpu())


@dataclass(frozen=True, slots=True)
class _Heads:
    """query[T, Hq, D], key and value[T, Hkv, D] before positions, rotated queries, and attention
    [Hq, T, T]; values as the cache keeps them. dtype: what the layer's products pass on."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    rotated: torch.Tensor
    attention: torch.Tensor
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        weights: LlamaLayer,
        config: ModelConfig,
        hidden: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> _Heads:
        qkv = weights.qkv(hidden, norm=weights.attention_norm)
        counts = [config.heads, config.kv_heads, config.kv_heads]
        sizes = [count * config.head_dim for count in counts]
        query, key, value = (
            part.float().unflatten(-1, (count, config.head_dim))
            for part, count in zip(qkv.split(sizes, -1), counts, strict=True)
        )
        kept = weights.qkv.weights.tensors[0].dtype  # the cache rounds to it
        rotated, turned = _rotate(query, cos, sin), _rotate(key, cos, sin).to(kept).float()
        group = config.heads // config.kv_heads
        scores = torch.einsum("qhd,khd->hqk", rotated, turned.repeat_interleave(group, 1))
        future = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu(1)
        scores = (scores / math.sqrt(config.head_dim)).masked_fill(future, -math.inf)
        return cls(query, key, value.to(kept).float(), rotated, scores.softmax(-1), qkv.dtype)

    def attended(self) -> torch.Tensor:
        """[T, Hq·D]"""
        group = self.query.shape[1] // self.value.shape[1]
        values = self.value.repeat_interleave(group, 1)
        return torch.einsum("hqk,khd->qhd", self.attention, values).flatten(1)


def _shown(
    norm: kernels.Norm,
    heads: _Heads,
    head: int,
    before: torch.Tensor,
    gated: torch.Tensor,
    after: torch.Tensor,
) -> TracedLayer:
    last = before[-1].float()
    scale = math.sqrt(float(last.pow(2).mean()) + norm.eps)
    of_group = head * heads.value.shape[1] // heads.query.shape[1]
    return TracedLayer(
        before=last.cpu(),
        scale=scale,
        normed=(last / scale * norm.weight).cpu(),
        query=heads.query[:, head].cpu(),
        key=heads.key[:, of_group].cpu(),
        value=heads.value[:, of_group].cpu(),
        rotated=heads.rotated[:, head].cpu(),
        attention=heads.attention[head].cpu(),
        gated=gated[-1].float().cpu(),
        after=after[-1].float().cpu(),
    )


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x[T, heads, D]: element i of a head is paired with element i + D/2."""
    first, second = x.chunk(2, -1)
    c, s = cos[:, None], sin[:, None]
    return torch.cat([first * c - second * s, second * c + first * s], -1)


def _size(hidden: torch.Tensor) -> float:
    return math.sqrt(float(hidden[-1].float().pow(2).mean()))
