"""out[T, I] = silu(gate) · up: 8·I bytes read and 4·I written for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.jit import device, exp_nonpositive, jit


@device
def silu_mul_row(gate_up: Any, out: Any) -> None:
    """gate_up[2·I], gate first -> out[I]. The exponent is never positive, so nothing overflows:
    1 / (1 + e^-g) = e^-|g| / (1 + e^-|g|) where g is negative."""
    size = out.shape[0]
    gates, ups = gate_up[:size], gate_up[size:]
    for i in range(size):
        gate = gates[i]
        small = exp_nonpositive(-abs(gate))
        above = np.float32(1) if gate >= 0 else small
        out[i] = gate * above / (np.float32(1) + small) * ups[i]


@jit(parallel=True)
def silu_mul(gate_up: Any, out: Any) -> None:
    """gate_up[T, 2·I] -> out[T, I]."""
    for task in prange(out.shape[0]):
        t = np.int64(task)
        silu_mul_row(gate_up[t], out[t])
