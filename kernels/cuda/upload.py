"""Weights to the GPU: read from the disk and copied at the same time.

A file that is mapped into memory cannot be copied from directly: the GPU reads pinned memory
only. So it goes piece by piece through two pinned buffers. While the GPU fetches one of them, the
CPU reads the next piece into the other, and changes its precision on the way where they differ.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import torch

STAGE_BYTES = 32 << 20


class Stage:
    """One buffer of bytes, and the copy from it that is under way."""

    def __init__(self, buffer: torch.Tensor, copied: Any) -> None:
        """copied: a CUDA event."""
        self._buffer, self._copied = buffer, copied

    def pass_on(self, source: torch.Tensor, destination: torch.Tensor) -> None:
        """Copy a piece that fits, once the piece before has left the buffer."""
        self._copied.synchronize()
        piece = self._buffer[: destination.nbytes].view(destination.dtype)
        piece.copy_(source)
        destination.copy_(piece, non_blocking=True)
        self._copied.record()


def upload(source: torch.Tensor, destination: torch.Tensor) -> None:
    """Copy a CPU tensor into a CUDA tensor of the same shape; both contiguous, as a range of rows
    of a longer matrix is. `source` may be forgotten afterwards; `destination` is whole for all
    that the current stream is given from now on. Raises ValueError for other tensors."""
    if source.shape != destination.shape or source.device.type != "cpu":
        raise ValueError(
            f"upload: {list(source.shape)} on {source.device} cannot become "
            f"{list(destination.shape)} on {destination.device}"
        )
    if not source.is_contiguous() or not destination.is_contiguous():
        raise ValueError(f"upload: {list(source.shape)} must be contiguous on both sides")
    whole, target = source.view(-1), destination.view(-1)
    step = STAGE_BYTES // target.element_size()
    for first in range(0, target.numel(), step):
        piece = slice(first, first + step)
        next(_stages()).pass_on(whole[piece], target[piece])


def release() -> None:
    """Give the pinned memory back, after the last upload."""
    _stages.cache_clear()


@functools.cache
def _stages() -> Iterator[Stage]:
    """Two that take turns, over all uploads. Their memory stays pinned until `release`."""
    buffers = [torch.empty(STAGE_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
    return cycle([Stage(buffer, torch.cuda.Event()) for buffer in buffers])
