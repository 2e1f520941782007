"""How many threads the CPU kernels use."""

from __future__ import annotations

import numba
import torch

_count = 1


def thread_count() -> int:
    """What was set last."""
    return _count


def set_threads(count: int) -> None:
    """For the calling thread: Numba's loops and torch's operations both use `count` threads.

    Leave a core to the web server when it shares the machine: threads that wait for a core that
    somebody else holds make everything slower.
    """
    global _count
    _count = count
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(count)
