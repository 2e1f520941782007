"""What one step of the engine hands to a model: a frozen description of every token in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels import AttentionBatch

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """T tokens of S sequences, side by side.

    token_ids, positions, slots: int64[T] (slot = block · block size + offset, where the token's
    key and value go). attention: who attends to what. logit_rows: int64[L], the tokens whose
    logits are wanted; None: all. sampled: tokens that are not known here yet, for ids below zero
    (see `kernels.embedding`).
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    attention: AttentionBatch
    logit_rows: torch.Tensor | None
    sampled: torch.Tensor | None = None

    @property
    def is_one_token(self) -> bool:
        """One token of one sequence, whose logits are wanted: a decode for one person."""
        wanted = 1 if self.logit_rows is None else self.logit_rows.numel()
        return self.token_ids.numel() == 1 and wanted == 1


def per_token(tables: Array, lengths: Array, counts: Sequence[int]) -> tuple[Array, Array]:
    """Every token as if it were a decode, so that its attention does not depend on how a prompt is
    cut: from block tables int32[S, W] and context lengths int32[S] of sequences that bring
    counts[s] tokens each, the last ones of their contexts, to int32[T, W] and int32[T]."""
    ends = np.cumsum(counts)
    later = np.repeat(ends, counts) - np.arange(1, ends[-1] + 1)
    contexts = (np.repeat(lengths, counts) - later).astype(np.int32)
    return np.repeat(tables, counts, axis=0), contexts
