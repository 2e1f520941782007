"""Three well-known shapes of models, filled with random weights: speed does not depend on what
the weights are."""

from __future__ import annotations

from pathlib import Path

import torch

from inference.config import ModelConfig
from inference.errors import ModelInvalid

# hidden, inner, heads, key/value heads, head size, vocabulary, layers, tied
_SHAPES = {
    "SmolLM2-135M": (576, 1536, 9, 3, 64, 49152, 30, True),
    "Llama-3.2-1B": (2048, 8192, 32, 8, 64, 128256, 16, True),
    "Llama-3.1-8B": (4096, 14336, 32, 8, 128, 128256, 32, False),
}
SHAPES = tuple(_SHAPES)


class RandomWeights:
    """See `inference.weights.TensorSource`: normal numbers, on the GPU from the beginning. bytes:
    of all that was taken so far."""

    def __init__(self, dtype: torch.dtype, device: torch.device | str = "cuda") -> None:
        self.dtype, self._device = dtype, device
        self.bytes = 0

    def __contains__(self, name: str) -> bool:
        return name.endswith("embed_tokens.weight")

    def take(self, name: str, *shape: int) -> torch.Tensor:
        if len(shape) == 1:
            tensor = torch.ones(shape, dtype=self.dtype, device=self._device)
        else:
            tensor = torch.randn(shape, dtype=self.dtype, device=self._device)
            tensor.mul_(shape[-1] ** -0.5)
        self.bytes += tensor.nbytes
        return tensor

    def finish(self, *, ignore: tuple[str, ...] = ()) -> None:
        pass


def shape_config(name: str, context_length: int) -> ModelConfig:
    """Raises ModelInvalid for a name that is not one of the shapes."""
    if name not in _SHAPES:
        raise ModelInvalid(f"There is no shape {name!r}; known: {', '.join(_SHAPES)}.", shape=name)
    hidden, inner, heads, kv_heads, head, vocab, layers, tied = _SHAPES[name]
    raw = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
        "max_position_embeddings": context_length,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    return ModelConfig.from_dict(raw, Path(name))


def weight_bytes(config: ModelConfig) -> int:
    """What one token reads of 16-bit weights: all products and the head. It is also how many
    floating-point operations they are: two for each weight."""
    head = config.vocab_size * config.hidden_size
    return layer_bytes(config) + 2 * head


def layer_bytes(config: ModelConfig) -> int:
    """The same without the head, which a prompt needs for its last token only."""
    qkv = (config.heads + 2 * config.kv_heads) * config.head_dim
    attention = config.hidden_size * (qkv + config.heads * config.head_dim)
    mlp = 3 * config.hidden_size * config.intermediate_size
    return 2 * config.layers * (attention + mlp)


def cache_bytes(config: ModelConfig, tokens: int) -> int:
    """Of 16-bit keys and values."""
    return 4 * config.layers * config.kv_heads * config.head_dim * tokens


def attention_operations(config: ModelConfig, tokens: int) -> int:
    """Of a prompt: each token with itself and all before it."""
    return 2 * config.layers * config.heads * config.head_dim * tokens * (tokens + 1)
