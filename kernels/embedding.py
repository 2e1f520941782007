"""embedding: rows of a table, widened. T·H numbers read, T·H written."""

from __future__ import annotations

import torch

from kernels.shapes import check_shapes


def embedding(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """table[V, H] in its stored precision, ids[T] int64 -> fp32[T, H]."""
    check_shapes("embedding", "table[V H] ids[T]", table, ids)
    return table[ids].float()
