"""silu_mul: silu(gate) · up, the middle of a SwiGLU feed-forward layer (Shazeer, 2020)."""

from __future__ import annotations

import torch

from kernels.cpu import silu_mul as cpu
from kernels.cuda import silu_mul as cuda
from kernels.shapes import check_shapes


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """gate_up[T, 2·I], gate first -> [T, I] of the same type: fp32 on the CPU, any of the storage
    types on CUDA."""
    check_shapes("silu_mul", "gate_up[T 2I]", gate_up)
    if gate_up.is_cuda:
        return cuda.silu_mul(gate_up)
    out = gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2)
    cpu.silu_mul(gate_up.numpy(), out.numpy())
    return out


def reference(gate_up: torch.Tensor) -> torch.Tensor:
    """The same, written out, in its own precision."""
    gate, up = gate_up.chunk(2, dim=-1)
    return gate / (1 + torch.exp(-gate)) * up
