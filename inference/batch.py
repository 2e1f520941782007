"""What one step of the engine hands to a model: a frozen description of every token in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels import AttentionBatch


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
