"""What the GPU's kernels can compute, asked before a model is loaded."""

from __future__ import annotations

from pathlib import Path

from inference.config import ModelConfig
from inference.errors import ModelUnavailable

_HEAD_UNIT, _LARGEST_HEAD = 16, 256
_UNIT = 8  # numbers of a row in 16 bytes
_LARGEST_GROUP = 32
_LARGEST_VOCABULARY = 2**18


def check_support(config: ModelConfig, directory: Path) -> None:
    """Raises ModelUnavailable, which names the size that no kernel takes."""
    head, group = config.head_dim, config.heads // config.kv_heads
    rules = {
        "head size": (head, f"a multiple of {_HEAD_UNIT} up to {_LARGEST_HEAD}"),
        "hidden size": (config.hidden_size, f"a multiple of {_UNIT}"),
        "intermediate size": (config.intermediate_size, f"a multiple of {_UNIT}"),
        "query heads for each key/value head": (group, f"at most {_LARGEST_GROUP}"),
        "vocabulary": (config.vocab_size, f"at most {_LARGEST_VOCABULARY}"),
    }
    fits = (
        head % _HEAD_UNIT == 0 and head <= _LARGEST_HEAD,
        config.hidden_size % _UNIT == 0,
        config.intermediate_size % _UNIT == 0,
        group <= _LARGEST_GROUP,
        config.vocab_size <= _LARGEST_VOCABULARY,
    )
    for (name, (size, rule)), fit in zip(rules.items(), fits, strict=True):
        if not fit:
            raise ModelUnavailable(
                f"{directory.name}: its {name} is {size}, and the kernels for GPUs take {rule}. "
                "Compute on the CPU with TINYLLM_DEVICE=cpu.",
                path=str(directory),
                size=size,
            )
