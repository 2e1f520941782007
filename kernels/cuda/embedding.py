"""Launches csrc/embedding.cu: a thread for 16 bytes of the table."""

from __future__ import annotations

import torch

from kernels import launch
from kernels.cuda.arguments import check_arguments, check_multiple

# Few, so that a single row is spread over many multiprocessors.
_THREADS = 128


def embedding(table: torch.Tensor, ids: torch.Tensor, sampled: torch.Tensor | None) -> torch.Tensor:
    """table[V, H] fp32, fp16 or bf16, ids int64[T], sampled int32[S] -> fp32[T, H]. H: a multiple
    of 8."""
    rows, hidden = ids.shape[0], table.shape[1]
    check_arguments("embedding", table=(table, table.dtype), ids=(ids, torch.int64))
    check_multiple("embedding", H=(hidden, 8))
    if sampled is not None:
        check_arguments("embedding", ids=(ids, torch.int64), sampled=(sampled, torch.int32))
    out = table.new_empty(rows, hidden, dtype=torch.float32)
    blocks = -(-hidden * table.element_size() // (16 * _THREADS))
    kernel = launch.kernel("embedding", "embedding", table.dtype)
    kernel((rows, blocks), (_THREADS,), table, ids, sampled, out, hidden)
    return out
