"""Llama (Touvron et al., 2023) and the many models that share its shape.

A layer is: norm, attention with rotary positions and grouped key/value heads, add; norm, SwiGLU
feed-forward, add. The names are those of Hugging Face's checkpoints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

import kernels
from inference.architectures.llama_trace import TracedParts, TracedPass, traced
from inference.batch import ForwardBatch
from inference.config import ModelConfig
from inference.rope import rope_tables
from inference.weights import TensorSource

# Written by older exporters, and computed here instead.
_BUFFERS = ("rotary_emb.inv_freq",)


@dataclass(frozen=True, slots=True)
class Linear:
    """One or more weight matrices that share their input, outputs side by side."""

    weights: kernels.Matrices
    bias: torch.Tensor | None

    def __call__(
        self,
        x: torch.Tensor,
        *,
        norm: kernels.Norm | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """residual is added to; on CUDA in place."""
        out = kernels.matmul_transb(x, self.weights, norm=norm, residual=residual)
        return out if self.bias is None else out.add_(self.bias)

    def gated(self, x: torch.Tensor, norm: kernels.Norm) -> torch.Tensor:
        """silu(first half of the outputs) · second half."""
        if self.bias is None:
            return kernels.matmul_transb(x, self.weights, norm=norm, gated=True)
        return kernels.silu_mul(self(x, norm=norm))


@dataclass(frozen=True, slots=True)
class LlamaLayer:
    """The weights of one layer."""

    attention_norm: kernels.Norm
    qkv: Linear
    attention_out: Linear
    mlp_norm: kernels.Norm
    gate_up: Linear
    down: Linear

    @property
    def has_bias(self) -> bool:
        linears = (self.qkv, self.attention_out, self.gate_up, self.down)
        return any(linear.bias is not None for linear in linears)

    @property
    def fused(self) -> kernels.DecoderLayer:
        """The layer as the one-token kernels take it."""
        return kernels.DecoderLayer(
            self.attention_norm,
            self.qkv.weights,
            self.attention_out.weights,
            self.mlp_norm,
            self.gate_up.weights,
            self.down.weights,
        )


class Llama:
    """See `inference.architectures.Architecture`."""

    def __init__(self, config: ModelConfig, weights: TensorSource, device: torch.device) -> None:
        """Takes every tensor it needs; raises ModelInvalid for missing, extra or misshapen ones."""
        self._config = config
        cos, sin = rope_tables(config)
        self._rotary = kernels.Rotary(cos.to(device), sin.to(device))
        vocabulary = (config.vocab_size, config.hidden_size)
        embedding = kernels.Matrices(
            [weights.take(_embedding_name(config, weights), *vocabulary)], device
        )
        (self._embedding,) = embedding.tensors
        self._layers = [_layer(config, weights, i, device) for i in range(config.layers)]
        last_norm = weights.take("model.norm.weight", config.hidden_size)
        self._norm = kernels.Norm(last_norm, config.norm_eps, device)
        if config.tied_embeddings:
            self._head = embedding
            # some exporters write the tied matrix a second time
            weights.finish(ignore=(*_BUFFERS, "lm_head.weight"))
        else:
            self._head = kernels.Matrices([weights.take("lm_head.weight", *vocabulary)], device)
            weights.finish(ignore=_BUFFERS)
        # 16-bit weights without biases: for one token all of `forward` is one kernel
        self._fits_one_kernel = not self._head.is_wide and not any(
            layer.has_bias or layer.qkv.weights.is_wide for layer in self._layers
        )
        self._decoder: kernels.TokenDecoder | None = None

    def forward(self, batch: ForwardBatch, caches: list[kernels.CacheLayer]) -> torch.Tensor:
        hidden = kernels.embedding(self._embedding, batch.token_ids, batch.sampled)
        alone = batch.is_one_token and not kernels.products().invariant
        if alone and self._fits_one_kernel and not hidden.is_cuda:
            rows = self._rotary.cos[batch.positions], self._rotary.sin[batch.positions]
            return self._token_decoder(caches).run(hidden, *rows, batch.attention)
        (hidden,) = deque(self._layer_by_layer(hidden, batch, caches), maxlen=1)
        if batch.logit_rows is not None:
            hidden = hidden[batch.logit_rows]
        return kernels.matmul_transb(hidden, self._head, norm=self._norm, wide=True)

    def residual(
        self, batch: ForwardBatch, caches: list[kernels.CacheLayer]
    ) -> Iterator[torch.Tensor]:
        hidden = kernels.embedding(self._embedding, batch.token_ids, batch.sampled)
        yield hidden
        yield from self._layer_by_layer(hidden, batch, caches)

    def states(self, batch: ForwardBatch, caches: list[kernels.CacheLayer]) -> torch.Tensor:
        (hidden,) = deque(self.residual(batch, caches), maxlen=1)
        return kernels.rms_norm(hidden, self._norm)

    def _layer_by_layer(
        self, hidden: torch.Tensor, batch: ForwardBatch, caches: list[kernels.CacheLayer]
    ) -> Iterator[torch.Tensor]:
        """The residual stream after each half layer."""
        for layer, cache in zip(self._layers, caches, strict=True):
            hidden = self._attend(layer, cache, hidden, batch)
            yield hidden
            gated = layer.gate_up.gated(hidden, layer.mlp_norm)
            hidden = layer.down(gated, residual=hidden)
            yield hidden

    def _attend(
        self,
        layer: LlamaLayer,
        cache: kernels.CacheLayer,
        hidden: torch.Tensor,
        batch: ForwardBatch,
    ) -> torch.Tensor:
        where = (self._rotary, batch.positions, cache, batch.slots)
        if layer.qkv.bias is None:
            weights = layer.qkv.weights
            q = kernels.qkv_rope_append(hidden, weights, layer.attention_norm, *where)
        else:
            q = kernels.rope_append(layer.qkv(hidden, norm=layer.attention_norm), *where)
        attended = kernels.attention(q, cache, batch.attention)
        return layer.attention_out(attended.flatten(1), residual=hidden)

    def trace(self, token_ids: torch.Tensor, layer: int, head: int) -> TracedPass:
        parts = (self._embedding, self._layers, self._norm, self._head, self._rotary)
        device = self._embedding.device
        return traced(TracedParts(self._config, *parts), token_ids.to(device), layer, head)

    def on_gpu(self, caches: list[kernels.CacheLayer]) -> kernels.GpuTokenDecoder | None:
        """The model as one kernel for one token, where it fits."""
        if not self._fits_one_kernel:
            return None
        layers = [layer.fused for layer in self._layers]
        parts = (self._embedding, layers, caches, self._norm, self._head, self._rotary)
        return kernels.gpu_token_decoder(kernels.GpuDecoder(*parts))

    def tune(self, rows: Sequence[int], most_logits: int, cache: kernels.CacheLayer) -> None:
        """On a GPU, measure how each product of so many rows goes fastest."""
        first, layers = self._layers[0], self._layers
        qkv = [layer.qkv.weights for layer in layers]
        if first.qkv.bias is None:
            tables = self._rotary.cos, self._rotary.sin
            kernels.tune_qkv(qkv, rows, first.attention_norm, *tables, cache)
        else:
            kernels.tune(qkv, rows, norm=first.attention_norm)
        kernels.tune([layer.attention_out.weights for layer in layers], rows, residual=True)
        gate_up, gated = [layer.gate_up.weights for layer in layers], first.gate_up.bias is None
        kernels.tune(gate_up, rows, norm=first.mlp_norm, gated=gated)
        kernels.tune([layer.down.weights for layer in layers], rows, residual=True)
        of_logits = [count for count in rows if count < 2 * most_logits]
        kernels.tune([self._head], of_logits, norm=self._norm, wide=True)

    def _token_decoder(self, caches: list[kernels.CacheLayer]) -> kernels.TokenDecoder:
        """Made at the first token, once there is a cache, and kept for that cache."""
        if self._decoder is None or self._decoder.caches is not caches:
            layers = [layer.fused for layer in self._layers]
            self._decoder = kernels.TokenDecoder(layers, caches, self._norm, self._head)
        return self._decoder


def _embedding_name(config: ModelConfig, weights: TensorSource) -> str:
    """A tied matrix has two names, and files may hold it under either."""
    only_head = "lm_head.weight" in weights and "model.embed_tokens.weight" not in weights
    return "lm_head.weight" if config.tied_embeddings and only_head else "model.embed_tokens.weight"


def _layer(
    config: ModelConfig, weights: TensorSource, index: int, device: torch.device
) -> LlamaLayer:
    prefix = f"model.layers.{index}"
    hidden, inner = config.hidden_size, config.intermediate_size
    q_size, kv_size = config.heads * config.head_dim, config.kv_heads * config.head_dim

    def linear(module: str, names: dict[str, int], inputs: int, *, bias: bool) -> Linear:
        paths = {f"{prefix}.{module}.{name}": size for name, size in names.items()}
        matrices = kernels.Matrices(
            [weights.take(f"{p}.weight", n, inputs) for p, n in paths.items()], device
        )
        biases = [weights.take(f"{p}.bias", n).float() for p, n in paths.items()] if bias else []
        return Linear(matrices, torch.cat(biases).to(device) if biases else None)

    def norm(name: str) -> kernels.Norm:
        weight = weights.take(f"{prefix}.{name}.weight", hidden)
        return kernels.Norm(weight, config.norm_eps, device)

    qkv = {"q_proj": q_size, "k_proj": kv_size, "v_proj": kv_size}
    attention_bias, mlp_bias = config.attention_bias, config.mlp_bias
    return LlamaLayer(
        attention_norm=norm("input_layernorm"),
        qkv=linear("self_attn", qkv, hidden, bias=attention_bias),
        attention_out=linear("self_attn", {"o_proj": hidden}, q_size, bias=attention_bias),
        mlp_norm=norm("post_attention_layernorm"),
        gate_up=linear("mlp", {"gate_proj": inner, "up_proj": inner}, hidden, bias=mlp_bias),
        down=linear("mlp", {"down_proj": hidden}, inner, bias=mlp_bias),
    )
