"""embedding: rows of a table, widened. T·H numbers read, T·H written."""

from __future__ import annotations

import torch

from kernels.cuda import embedding as cuda
from kernels.shapes import check_shapes


def embedding(
    table: torch.Tensor, ids: torch.Tensor, sampled: torch.Tensor | None = None
) -> torch.Tensor:
    """table[V, H] in its stored precision, ids int64[T] -> fp32[T, H].

    An id of -1 - s stands for the token in sampled int32[S] at s: one that the last step chose on
    the device, and that nobody here has seen yet.
    """
    check_shapes("embedding", "table[V H] ids[T]", table, ids)
    if table.is_cuda:
        return cuda.embedding(table, ids, sampled)
    return reference(table, ids, sampled)


def reference(
    table: torch.Tensor, ids: torch.Tensor, sampled: torch.Tensor | None = None
) -> torch.Tensor:
    """The same in plain torch."""
    if sampled is not None:
        ids = ids.clone()
        later = ids < 0
        ids[later] = sampled[-1 - ids[later]].long()
    return table[ids].float()
