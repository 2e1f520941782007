"""Rotary frequencies: plain, and the three ways in use to stretch them over longer contexts."""

from __future__ import annotations

import math
from typing import Any

import torch

from inference.config import ModelConfig


def rope_tables(config: ModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, fp32[context length, head_dim / 2] each, the attention factor included."""
    frequencies, factor = _frequencies(config)
    positions = torch.arange(config.context_length, dtype=torch.float32)
    angles = torch.outer(positions, frequencies)
    return angles.cos() * factor, angles.sin() * factor


def _frequencies(config: ModelConfig) -> tuple[torch.Tensor, float]:
    """Inverse frequencies, fp32[head_dim / 2], and the factor on cos and sin."""
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    plain = 1.0 / (config.rope.theta**steps)
    scaling = config.rope.scaling
    if config.rope.kind == "linear":
        return plain / float(scaling["factor"]), 1.0
    if config.rope.kind == "llama3":
        return _llama3(plain, scaling), 1.0
    if config.rope.kind == "yarn":
        return _yarn(plain, config, scaling)
    return plain, 1.0


def _llama3(plain: torch.Tensor, scaling: dict[str, Any]) -> torch.Tensor:
    """Llama 3.1: long wavelengths are divided by the factor, short ones kept, the rest blended."""
    factor = float(scaling["factor"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    original = float(scaling["original_max_position_embeddings"])
    wavelengths = 2 * math.pi / plain
    blend = ((original / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 - blend) * plain / factor + blend * plain


def _yarn(
    plain: torch.Tensor, config: ModelConfig, scaling: dict[str, Any]
) -> tuple[torch.Tensor, float]:
    """YaRN (Peng et al., 2023): dimensions that turn often are kept, slow ones interpolated."""
    original = scaling["original_max_position_embeddings"]
    factor = float(scaling["factor"])
    fast, slow = float(scaling.get("beta_fast") or 32), float(scaling.get("beta_slow") or 1)

    def dimension_of(rotations: float) -> float:
        """The (fractional) dimension that makes so many rotations over the original context."""
        return (config.head_dim * math.log(original / (rotations * 2 * math.pi))) / (
            2 * math.log(config.rope.theta)
        )

    low, high = dimension_of(fast), dimension_of(slow)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, config.head_dim - 1)
    ramp = (torch.arange(config.head_dim // 2, dtype=torch.float32) - low) / ((high - low) or 1e-3)
    kept = 1 - ramp.clamp(0, 1)
    return plain / factor * (1 - kept) + plain * kept, _yarn_attention(factor, scaling)


def _yarn_attention(factor: float, scaling: dict[str, Any]) -> float:
    explicit = scaling.get("attention_factor")
    if explicit is not None:
        return float(explicit)

    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    both = scaling.get("mscale"), scaling.get("mscale_all_dim")
    if both[0] and both[1]:
        return magnitude(float(both[0])) / magnitude(float(both[1]))
    return magnitude(1.0)
