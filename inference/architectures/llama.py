"""Llama (Touvron et al., 2023) and the many models that share its shape.

A layer is: norm, attention with rotary positions and grouped key/value heads, add; norm, SwiGLU
feed-forward, add. The names are those of Hugging Face's checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

import kernels
from inference.batch import ForwardBatch, LayerCache
from inference.config import ModelConfig
from inference.rope import rope_tables
from inference.weights import Weights

# Written by older exporters, and computed here instead.
_BUFFERS = ("rotary_emb.inv_freq",)


@dataclass(frozen=True, slots=True)
class Linear:
    """One or more weight matrices [N, K] that share their input, outputs side by side."""

    weights: tuple[torch.Tensor, ...]
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        out = kernels.matmul_transb(x, self.weights, residual)
        return out if self.bias is None else out.add_(self.bias)


@dataclass(frozen=True, slots=True)
class LlamaLayer:
    """The weights of one layer."""

    attention_norm: torch.Tensor
    qkv: Linear
    attention_out: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear


class Llama:
    """See `inference.architectures.Architecture`."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        """Takes every tensor it needs; raises ModelInvalid for missing, extra or misshapen ones."""
        self._config = config
        self._cos, self._sin = rope_tables(config)
        vocabulary = (config.vocab_size, config.hidden_size)
        self._embedding = weights.take("model.embed_tokens.weight", *vocabulary)
        self._layers = [_layer(config, weights, i) for i in range(config.layers)]
        self._norm = weights.take("model.norm.weight", config.hidden_size)
        if config.tied_embeddings:
            self._head = self._embedding
            # some exporters write the tied matrix a second time
            weights.finish(ignore=(*_BUFFERS, "lm_head.weight"))
        else:
            self._head = weights.take("lm_head.weight", *vocabulary)
            weights.finish(ignore=_BUFFERS)

    def forward(self, batch: ForwardBatch, caches: list[LayerCache]) -> torch.Tensor:
        cos, sin = self._cos[batch.positions], self._sin[batch.positions]
        hidden = kernels.embedding(self._embedding, batch.token_ids)
        for layer, cache in zip(self._layers, caches, strict=True):
            hidden = self._attend(layer, cache, hidden, cos, sin, batch)
            hidden = self._feed_forward(layer, hidden)
        wanted = kernels.rms_norm(hidden[batch.logit_rows], self._norm, self._config.norm_eps)
        return kernels.matmul_transb(wanted, (self._head,))

    def _attend(
        self,
        layer: LlamaLayer,
        cache: LayerCache,
        hidden: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        batch: ForwardBatch,
    ) -> torch.Tensor:
        normed = kernels.rms_norm(hidden, layer.attention_norm, self._config.norm_eps)
        q = kernels.rope_append(layer.qkv(normed), cos, sin, cache.k, cache.v, batch.slots)
        attended = kernels.attention(q, cache.k, cache.v, batch.attention)
        return layer.attention_out(attended.flatten(1), residual=hidden)

    def _feed_forward(self, layer: LlamaLayer, hidden: torch.Tensor) -> torch.Tensor:
        normed = kernels.rms_norm(hidden, layer.mlp_norm, self._config.norm_eps)
        return layer.down(kernels.silu_mul(layer.gate_up(normed)), residual=hidden)


def _layer(config: ModelConfig, weights: Weights, index: int) -> LlamaLayer:
    prefix = f"model.layers.{index}"
    hidden, inner = config.hidden_size, config.intermediate_size
    q_size, kv_size = config.heads * config.head_dim, config.kv_heads * config.head_dim

    def linear(module: str, names: dict[str, int], inputs: int, *, bias: bool) -> Linear:
        paths = {f"{prefix}.{module}.{name}": size for name, size in names.items()}
        matrices = tuple(weights.take(f"{p}.weight", n, inputs) for p, n in paths.items())
        biases = [weights.take(f"{p}.bias", n).float() for p, n in paths.items()] if bias else []
        return Linear(matrices, torch.cat(biases) if biases else None)

    qkv = {"q_proj": q_size, "k_proj": kv_size, "v_proj": kv_size}
    attention_bias, mlp_bias = config.attention_bias, config.mlp_bias
    return LlamaLayer(
        attention_norm=weights.take(f"{prefix}.input_layernorm.weight", hidden),
        qkv=linear("self_attn", qkv, hidden, bias=attention_bias),
        attention_out=linear("self_attn", {"o_proj": hidden}, q_size, bias=attention_bias),
        mlp_norm=weights.take(f"{prefix}.post_attention_layernorm.weight", hidden),
        gate_up=linear("mlp", {"gate_proj": inner, "up_proj": inner}, hidden, bias=mlp_bias),
        down=linear("mlp", {"down_proj": hidden}, inner, bias=mlp_bias),
    )
