"""The loss on texts that are not learned, of each source."""

from __future__ import annotations

import math

import torch
from torch import nn

from inference.training.batches import Windows
from inference.training.precision import Precision
from inference.training.recipe import Recipe
from inference.training.shards import HeldOut, TokenData

# Logits are the largest of what a pass holds.
_TOKENS_AT_ONCE = 32_768


class HeldOutLoss:
    """The first tokens of each source, always the same ones."""

    def __init__(
        self, data: TokenData, recipe: Recipe, device: torch.device, precision: Precision
    ) -> None:
        self._most, self._precision = recipe.eval_tokens, precision
        self._sources: dict[str, tuple[Windows, float]] = {}
        for name, held in data.heldout.items():
            context = min(recipe.context, held.tokens.size - 1)
            if context > 0 and held.bytes:
                windows = Windows(held.tokens, held.learned, context, device)
                self._sources[name] = windows, _learned(held) / held.bytes

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, dict[str, float]]:
        """By source: loss in nats per token, and bits per byte, which can be compared between
        tokenizers."""
        return {name: self._source(model, *its) for name, its in self._sources.items()}

    def _source(
        self, model: nn.Module, windows: Windows, tokens_per_byte: float
    ) -> dict[str, float]:
        starts = windows.in_order(self._most // windows.context)
        total = 0.0
        for rows in starts.split(max(1, _TOKENS_AT_ONCE // windows.context)):
            with self._precision.autocast():
                total += model(*windows.read(rows)).item()
        loss = total / max(1, int(windows.learned(starts)))
        return {"loss": loss, "bits_per_byte": loss * tokens_per_byte / math.log(2)}


def _learned(held: HeldOut) -> int:
    return held.tokens.size if held.learned is None else int(held.learned.sum())
