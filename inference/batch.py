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
    logits are wanted.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    attention: AttentionBatch
    logit_rows: torch.Tensor

    @property
    def is_one_token(self) -> bool:
        """One token of one sequence, whose logits are wanted: a decode for one person."""
        return self.token_ids.numel() == 1 and self.logit_rows.numel() == 1
