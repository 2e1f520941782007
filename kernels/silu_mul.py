"""silu_mul: silu(gate) · up, the middle of a SwiGLU feed-forward layer (Shazeer, 2020)."""

from __future__ import annotations

import torch
from torch.nn import functional

from kernels.shapes import check_shapes


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """gate_up fp32[T, 2·I], gate first -> fp32[T, I]."""
    check_shapes("silu_mul", "gate_up[T 2I]", gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate).mul_(up)


def reference(gate_up: torch.Tensor) -> torch.Tensor:
    """The same, written out, in its own precision."""
    gate, up = gate_up.chunk(2, dim=-1)
    return gate / (1 + torch.exp(-gate)) * up
