"""Masks of grammars on a device: what may not come next is taken out of the logits there."""

from __future__ import annotations

from collections.abc import Sequence as PySequence

import numpy as np
import torch

from inference.scheduler import Chunk
from inference.sequence import Sequence

_BITS = 32


def split(decodes: tuple[Chunk, ...]) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Those without a grammar, and those with one, which stand behind them."""
    first = len(decodes)
    while first and decodes[first - 1].sequence.matcher:
        first -= 1
    return decodes[:first], decodes[first:]


def mask_rows(logits: torch.Tensor, sequences: PySequence[Sequence]) -> None:
    """logits fp32[R, V], a row for each sequence and perhaps more: those of a sequence with a
    grammar get -inf where a token is none of it. The packed masks go to the device, a bit for
    each token; nothing is done where there is no grammar."""
    bound = [(row, s.matcher) for row, s in enumerate(sequences) if s.matcher]
    if not bound:
        return
    words = np.stack([matcher.mask() for _row, matcher in bound])
    packed = torch.from_numpy(words).to(logits.device, non_blocking=True)
    rows = torch.tensor([row for row, _matcher in bound], device=logits.device)
    bits = torch.arange(_BITS, dtype=torch.int32, device=logits.device)
    may_come = (packed[:, :, None] >> bits & 1).view(len(bound), -1)[:, : logits.shape[1]]
    logits[rows] = logits[rows].masked_fill(may_come == 0, float("-inf"))
