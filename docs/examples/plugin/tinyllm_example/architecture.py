"""An architecture. This one computes what a Llama does, under a name of its own; another one is a
class with the methods of `inference.architectures.Architecture`."""

from __future__ import annotations

import torch

from inference.architectures.llama import Llama
from inference.config import ModelConfig
from inference.weights import TensorSource


def build(config: ModelConfig, weights: TensorSource, device: torch.device) -> Llama:
    return Llama(config, weights, device)
