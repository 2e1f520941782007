"""Llama once more, half layer by half layer, in plain torch on the CPU: no cache, no kernel,
nothing that is fused. What `inference.layer_check` compares the engine with.

Each method takes the residual stream fp32[T, H] of a whole text and gives the next one. dtype: what
products are computed in, and attention's keys and values are rounded to.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from inference.config import ModelConfig
from inference.rope import rope_tables
from inference.weights import TensorSource


class LlamaReference:
    def __init__(self, config: ModelConfig, weights: TensorSource) -> None:
        """Raises ModelInvalid."""
        self._config = config
        self._rope = rope_tables(config)
        vocabulary, hidden = config.vocab_size, config.hidden_size
        head, embedding = "lm_head.weight", "model.embed_tokens.weight"
        table = embedding if embedding in weights else head
        self._embedding = weights.take(table, vocabulary, hidden)
        self._head = self._embedding
        if not config.tied_embeddings:
            self._head = weights.take(head, vocabulary, hidden)
        self._norm = weights.take("model.norm.weight", hidden)
        self._layers = [_taken(config, weights, layer) for layer in range(config.layers)]

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self._embedding[ids].float()

    def attention(self, layer: int, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        its, config = self._layers[layer], self._config
        normed = self._normed(x, its["input_layernorm.weight"])
        query, key, value = (
            _product(its, f"self_attn.{name}_proj", normed, dtype)
            .unflatten(-1, (-1, config.head_dim))
            .transpose(0, 1)
            for name in "qkv"
        )
        query, key = self._turned(query), self._turned(key).to(dtype).float()
        group = config.heads // config.kv_heads
        key, value = (each.repeat_interleave(group, 0) for each in (key, value.to(dtype).float()))
        scores = query @ key.transpose(1, 2) / math.sqrt(config.head_dim)
        future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        attended = (weights @ value).transpose(0, 1).flatten(1)
        return x + _product(its, "self_attn.o_proj", attended, dtype)

    def feed_forward(self, layer: int, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        its = self._layers[layer]
        normed = self._normed(x, its["post_attention_layernorm.weight"])
        gate = functional.silu(_product(its, "mlp.gate_proj", normed, dtype))
        inner = gate * _product(its, "mlp.up_proj", normed, dtype)
        return x + _product(its, "mlp.down_proj", inner, dtype)

    def logits(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        normed = self._normed(x, self._norm)
        return functional.linear(normed.to(dtype), self._head.to(dtype)).float()

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        size = x.pow(2).mean(-1, keepdim=True) + self._config.norm_eps
        return x * size.rsqrt() * weight.float()

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        """x[heads, T, D]: element i of a head is paired with element i + D/2."""
        cos, sin = (table[: x.shape[1]] for table in self._rope)
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _product(
    its: dict[str, torch.Tensor], name: str, x: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    out = functional.linear(x.to(dtype), its[f"{name}.weight"].to(dtype)).float()
    bias = its.get(f"{name}.bias")
    return out if bias is None else out + bias.float()


def _taken(config: ModelConfig, weights: TensorSource, layer: int) -> dict[str, torch.Tensor]:
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    prefix = f"model.layers.{layer}."
    taken = {}
    for name, shape in shapes.items():
        taken[f"{name}.weight"] = weights.take(f"{prefix}{name}.weight", *shape)
        biased = config.attention_bias if name.startswith("self_attn") else config.mlp_bias
        if biased:
            taken[f"{name}.bias"] = weights.take(f"{prefix}{name}.bias", shape[0])
    for name in ("input_layernorm.weight", "post_attention_layernorm.weight"):
        taken[name] = weights.take(prefix + name, hidden)
    return taken
