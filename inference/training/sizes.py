"""The shapes of `sizes.toml` as configurations, and how many parameters they come to. No torch."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from inference.config import ModelConfig
from inference.training.errors import TrainingError

SIZES = Path(__file__).with_name("sizes.toml")


def sizes() -> dict[str, dict[str, int]]:
    """Every size by name."""
    return tomllib.loads(SIZES.read_text(encoding="utf-8"))


def config_json(size: str, *, vocab: int, context: int, end_of_text: int) -> dict[str, Any]:
    """The config.json of a size, as transformers writes it. Raises TrainingError."""
    known = sizes()
    if size not in known:
        raise TrainingError(f"There is no size {size!r}. Known sizes: {', '.join(known)}.")
    shape = known[size]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": vocab,
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["head_dim"],
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float16",
    }


def parameters(config: ModelConfig) -> int:
    """How many numbers are learned."""
    hidden, queries = config.hidden_size, config.heads * config.head_dim
    keys = config.kv_heads * config.head_dim
    attention = 2 * hidden * queries + 2 * hidden * keys
    layer = attention + 3 * hidden * config.intermediate_size + 2 * hidden
    matrices = 1 if config.tied_embeddings else 2
    return matrices * config.vocab_size * hidden + config.layers * layer + hidden
