"""Launches csrc/silu_mul.cu: a thread for 16 bytes of the result."""

from __future__ import annotations

import torch

from kernels import launch
from kernels.cuda.arguments import check_arguments, check_multiple

# Few, so that a single row is spread over many multiprocessors.
_THREADS = 128
_LOAD = 8


def takes_width(inner: int) -> bool:
    """Whether rows of `inner` results are made of whole loads."""
    return inner % _LOAD == 0


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """gate_up[T, 2·I], gate first, fp32, fp16 or bf16 -> the same type [T, I]. I: a multiple of
    8."""
    rows, inner = gate_up.shape[0], gate_up.shape[1] // 2
    check_arguments("silu_mul", gate_up=(gate_up, gate_up.dtype))
    check_multiple("silu_mul", I=(inner, _LOAD))
    out = gate_up.new_empty(rows, inner)
    blocks = -(-inner * out.element_size() // (16 * _THREADS))
    kernel = launch.kernel("silu_mul", "silu_mul", gate_up.dtype)
    kernel((rows, blocks), (_THREADS,), gate_up, out, inner)
    return out
