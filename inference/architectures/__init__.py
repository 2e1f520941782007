"""One readable file for each model architecture, found by its name in `config.json`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import torch

from inference import plugins
from inference.architectures.llama import Llama
from inference.architectures.llama_trace import TracedPass
from inference.batch import ForwardBatch
from inference.config import ModelConfig
from inference.errors import UnsupportedArchitecture
from inference.weights import TensorSource
from kernels import CacheLayer, GpuTokenDecoder


class Architecture(Protocol):
    """A model: weights in, logits out."""

    def forward(self, batch: ForwardBatch, caches: list[CacheLayer]) -> torch.Tensor:
        """fp32[L, V]: the logits of the rows that the batch asks for."""

    def states(self, batch: ForwardBatch, caches: list[CacheLayer]) -> torch.Tensor:
        """fp32[T, H]: what the logits of each token would be made of, after the last norm."""

    def residual(self, batch: ForwardBatch, caches: list[CacheLayer]) -> Iterator[torch.Tensor]:
        """fp32[T, H] of `forward` on its way: the embedding, then the stream after each half layer.
        Each may be written over when the next is asked for."""

    def trace(self, token_ids: torch.Tensor, layer: int, head: int) -> TracedPass:
        """One pass over int64[T] tokens, apart from every cache, with what is to be seen of a
        layer and head."""

    def tune(self, rows: Sequence[int], most_logits: int, cache: CacheLayer) -> None:
        """On a GPU, measure how each product of so many rows goes fastest. most_logits: of rows
        whose logits are asked for."""

    def on_gpu(self, caches: list[CacheLayer]) -> GpuTokenDecoder | None:
        """The model as one kernel for one token, on a GPU and where it fits."""


BUILT_IN: dict[str, Callable[[ModelConfig, TensorSource, torch.device], Architecture]] = {
    "LlamaForCausalLM": Llama
}


def build(
    config: ModelConfig,
    weights: TensorSource,
    device: torch.device,
    named: Collection[str] = (),
) -> Architecture:
    """The model that `config.architecture` names, holding its weights on the device. named:
    plugins that may be loaded; a file that came from elsewhere does not decide that. Raises
    UnsupportedArchitecture, PluginFailed."""
    name = config.architecture
    if name in BUILT_IN:
        return BUILT_IN[name](config, weights, device)
    if name not in named:
        raise UnsupportedArchitecture(
            f"The architecture {name} is a plugin's. It is loaded where TINYLLM_PLUGINS names it.",
            architecture=name,
            supported=list(BUILT_IN),
        )
    made: Architecture = plugins.load(plugins.ARCHITECTURES, name)(config, weights, device)
    return made
