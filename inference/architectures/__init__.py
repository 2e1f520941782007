"""One readable file for each model architecture, found by its name in `config.json`."""

from __future__ import annotations

from typing import Protocol

import torch

from inference.architectures.llama import Llama
from inference.batch import ForwardBatch
from inference.config import ModelConfig
from inference.weights import Weights
from kernels import CacheLayer


class Architecture(Protocol):
    """A model: weights in, logits out."""

    def forward(self, batch: ForwardBatch, caches: list[CacheLayer]) -> torch.Tensor:
        """fp32[L, V]: the logits of the rows that the batch asks for."""


def build(config: ModelConfig, weights: Weights) -> Architecture:
    """The model that `config.architecture` names, holding its weights."""
    return {"LlamaForCausalLM": Llama}[config.architecture](config, weights)
