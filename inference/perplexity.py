"""How well a model foresees a text, computed by the engine's own runners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch.nn import functional

from inference.batch import ForwardBatch
from inference.kv_cache import BLOCK_SIZE
from kernels import AttentionBatch


@runtime_checkable
class ForwardRunner(Protocol):
    """A runner of which the logits of every token can be had."""

    def forward(self, batch: ForwardBatch) -> torch.Tensor: ...


@torch.inference_mode()
def token_losses(runner: ForwardRunner, window: torch.Tensor) -> torch.Tensor:
    """The loss in nats, fp32[n - 1], of each token but the first of ids int64[n] on the runner's
    device. What was in its cache is overwritten."""
    size, device = window.numel(), window.device
    blocks = torch.arange(-(-size // BLOCK_SIZE), dtype=torch.int32, device=device)
    positions = torch.arange(size, device=device)
    length = torch.tensor([size], dtype=torch.int32, device=device)
    attention = AttentionBatch(blocks[None], length, (0, size), 0)
    logits = runner.forward(ForwardBatch(window, positions, positions, attention, None))
    return functional.cross_entropy(logits[:-1], window[1:], reduction="none")


def text_loss(runner: ForwardRunner, ids: Sequence[int], context: int, device: str) -> float:
    """The loss in nats of all tokens but the first. A text longer than the context is read in
    windows that overlap by half, and each token counts once, with what is before it."""
    total, begin, done = 0.0, 0, 1
    while done < len(ids):
        window = torch.tensor(ids[begin : begin + context], device=device)
        losses = token_losses(runner, window)
        total += losses[done - begin - 1 :].double().sum().item()
        done = begin + window.numel()
        begin = done - context // 2
    return total
