"""Whether products can be added up in what was asked for, once it is known what they are made of
and where."""

from __future__ import annotations

import torch

from inference.errors import ModelUnavailable
from inference.options import EngineOptions


def check_compute(options: EngineOptions, dtype: torch.dtype, device: str) -> None:
    """dtype: of the weights in memory; device: "cpu" or "cuda". Raises ModelUnavailable."""
    if options.compute == "fp16" and (device == "cpu" or dtype != torch.float16):
        kept = str(dtype).removeprefix("torch.")
        raise ModelUnavailable(
            "TINYLLM_COMPUTE=fp16 needs float16 weights on a GPU, but these are "
            f"{kept} on {device}. Keep them in float16 with TINYLLM_DTYPE=float16 where a GPU "
            "computes, or add up in fp32.",
            compute=options.compute,
            dtype=kept,
            device=device,
        )
