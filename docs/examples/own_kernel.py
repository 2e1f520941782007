"""A CPU kernel of one's own, beside its reference: squared ReLU, max(x, 0)² (So et al., 2021).

Judged as the kernels of this project are: against float64, with at most twice the error that torch
makes in the same precision.

PYTHONPATH=. python docs/examples/own_kernel.py
"""

import time
from typing import Any

import numpy as np
import torch
from numba import prange

from kernels.cpu.jit import as_array, jit


@jit(parallel=True)
def squared_relu_rows(x: Any, out: Any) -> None:
    """x[T, H], out[T, H]: 4·H bytes read and written for each row."""
    for task in prange(x.shape[0]):
        t = np.int64(task)
        for h in range(x.shape[1]):
            positive = max(x[t, h], np.float32(0))
            out[t, h] = positive * positive


def squared_relu(x: torch.Tensor) -> torch.Tensor:
    out = torch.full_like(x, float("nan"))  # what is not written is seen
    squared_relu_rows(as_array(x), as_array(out))
    return out


def reference(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x).square()


x = torch.randn(64, 4096, generator=torch.Generator().manual_seed(1))
exact = reference(x.double())
ours = (squared_relu(x) - exact).abs().max()
torchs = (reference(x) - exact).abs().max()
assert ours <= 2 * torchs, f"{ours} is more than twice {torchs}"
began = time.perf_counter()
squared_relu(x)
print(f"error {ours:.1e} (torch {torchs:.1e}), {(time.perf_counter() - began) * 1000:.2f} ms")
