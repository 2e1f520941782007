"""Where a model's numbers go wrong: the engine's residual stream beside an fp32 reference, half
layer by half layer.

Each half layer of the reference begins with what the engine's own half layer began with, so an
error shows where it is made, and not in all that follows. How large it may be is measured, too: a
few times what plain torch makes of the same half layer in the engine's precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as PySequence
from dataclasses import dataclass
from pathlib import Path

import torch

from inference.architectures.llama_reference import LlamaReference
from inference.kv_cache import KVCache
from inference.offline import OfflineModel
from inference.runner import Runner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from inference.weights import TensorSource, Weights

MOST_TOKENS = 128
"""Of the text; what is behind them is left out."""
_TIMES = 4
_LEAST = {"fp32": 1e-5, "fp16": 5e-2}
"""By what products are summed in: so much is always allowed."""


@dataclass(frozen=True, slots=True)
class Part:
    """error: of what the part adds, relative to its size (L2 over all tokens)."""

    name: str
    error: float
    allowed: float

    @property
    def departs(self) -> bool:
        return not self.error <= self.allowed  # NaN departs


class LayerCheck:
    """runner: idle, and what is in its cache is written over. weights: the runner's own, read once
    more in its precision. compute: as in `EngineOptions`."""

    def __init__(self, runner: Runner, weights: TensorSource, compute: str = "fp32") -> None:
        """Raises ModelInvalid."""
        self._runner, self._least = runner, _LEAST[compute]
        self._reference = LlamaReference(runner.config, weights)

    @torch.inference_mode()
    def parts(self, ids: PySequence[int]) -> Iterator[Part]:
        """In the order of computing: the embedding, the halves of each layer, the logits of the
        last token, and these once more where it is computed by itself, as in an answer."""
        ids = tuple(ids[:MOST_TOKENS])
        sequence = Sequence(GenerateRequest("layers", "", ids), len(ids) + 1, 0, 0)
        KVCache(self._runner.blocks).grow(sequence, sequence.limit)
        stream = self._runner.residual(Chunk(sequence, len(ids)))
        before = next(stream)
        embedded = self._reference.embed(torch.tensor(ids))
        yield Part("embedding", _distance(before, embedded, embedded), self._least)
        for place, after in enumerate(stream):
            yield self._half(place, before, after)
            before = after
        yield from self._logits(sequence, before[-1:])

    def _half(self, place: int, before: torch.Tensor, after: torch.Tensor) -> Part:
        layer, is_second = divmod(place, 2)
        half = self._reference.feed_forward if is_second else self._reference.attention
        wanted = half(layer, before, torch.float32)
        usual = half(layer, before, self._runner.dtype)
        added = wanted - before
        name = f"layer {layer}, {'feed-forward' if is_second else 'attention'}"
        allowed = self._allowed(_distance(usual, wanted, added))
        return Part(name, _distance(after, wanted, added), allowed)

    def _logits(self, sequence: Sequence, last: torch.Tensor) -> Iterator[Part]:
        wanted = self._reference.logits(last, torch.float32)[0]
        usual = self._reference.logits(last, self._runner.dtype)[0]
        allowed = self._allowed(_distance(usual, wanted, wanted))
        whole = torch.from_numpy(self._runner.run((Chunk(sequence, sequence.pending),))[0])
        yield Part("logits", _distance(whole, wanted, wanted), allowed)
        if sequence.pending > 1:
            sequence.computed = sequence.pending - 1
            alone = torch.from_numpy(self._runner.run((Chunk(sequence, 1),))[0])
            yield self._alone(sequence.tokens, alone)

    def _alone(self, ids: list[int], logits: torch.Tensor) -> Part:
        """All layers together, each with what the one before made of it."""
        wanted, usual = (self._whole(ids, dtype) for dtype in (torch.float32, self._runner.dtype))
        allowed = max(_TIMES * _distance(usual, wanted, wanted), 10 * self._least)
        return Part("the last token by itself", _distance(logits, wanted, wanted), allowed)

    def _whole(self, ids: list[int], dtype: torch.dtype) -> torch.Tensor:
        x = self._reference.embed(torch.tensor(ids))
        for layer in range(self._runner.config.layers):
            x = self._reference.attention(layer, x, dtype)
            x = self._reference.feed_forward(layer, x, dtype)
        return self._reference.logits(x[-1:], dtype)[0]

    def _allowed(self, usual: float) -> float:
        return max(_TIMES * usual, self._least)


def checked(model: OfflineModel, directory: Path, ids: PySequence[int]) -> Iterator[Part]:
    """The parts of a model that was loaded from this directory. Raises ModelInvalid."""
    weights = Weights(directory, model.runner.dtype)
    return LayerCheck(model.runner, weights, model.options.compute).parts(ids)


def _distance(one: torch.Tensor, other: torch.Tensor, beside: torch.Tensor) -> float:
    return float((one - other).norm() / beside.norm())
