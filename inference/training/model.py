"""A Llama that learns: the model of `inference/architectures/llama.py` as a torch module, whole
texts at a time, without a cache. Its parameters have the names of the published layout, so that
what is saved here is what the engine reads.

Shapes: B sequences, T tokens, C hidden size, H query heads, G key and value heads, D head size.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from inference.config import ModelConfig
from inference.rope import rope_tables

# Targets that are not to be learned.
IGNORED = -100
_INITIAL = 0.02


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, self.head_dim = config.hidden_size, config.head_dim
        self.grouped = config.heads != config.kv_heads
        bias, keys = config.attention_bias, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, config.heads * config.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, keys, bias=bias)
        self.v_proj = nn.Linear(hidden, keys, bias=bias)
        self.o_proj = nn.Linear(config.heads * config.head_dim, hidden, bias=bias)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x [B, T, C]; cos and sin [T, D / 2]."""
        q, k, v = (
            project(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=self.grouped
        )
        joined: torch.Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return joined


class Mlp(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(hidden, inner, bias=config.mlp_bias)
        self.up_proj = nn.Linear(hidden, inner, bias=config.mlp_bias)
        self.down_proj = nn.Linear(inner, hidden, bias=config.mlp_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """Tokens to the last hidden states."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        cos, sin = rope_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: torch.Tensor = self.norm(x)
        return out


class Llama(nn.Module):
    """The residual stream, the norms and the loss are fp32 under autocast, products are not."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def initialize(self, seed: int) -> None:
        """Small random weights, the same for the same seed on every machine. What is added to
        the residual stream is smaller the more layers add to it."""
        generator = torch.Generator().manual_seed(seed)
        quieter = (2 * self.config.layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            scale = quieter if name.endswith(("o_proj.weight", "down_proj.weight")) else 1
            random = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(random * _INITIAL * scale)

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """ids int64[B, T] to [B, T, V]."""
        out: torch.Tensor = self.lm_head(self.model(ids))
        return out

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The sum of the losses, in nats, over all targets int64[B, T] that are not IGNORED."""
        logits = self.logits(ids).float().flatten(0, 1)
        return functional.cross_entropy(
            logits, targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions over [..., T, D]: the first half of each head turns with the second."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.type_as(x)
