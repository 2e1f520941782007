"""What a kernel cannot see of its arguments: a wrong type is read as garbage, a CPU tensor ends the
process."""

from __future__ import annotations

import torch


def check_arguments(op: str, **expected: tuple[torch.Tensor, torch.dtype]) -> None:
    """Every tensor must have its type, lie in memory row after row, and on the first's device.

    Raises ValueError that names the op, the argument and what is wrong.
    """
    device = next(iter(expected.values()))[0].device
    for name, (tensor, dtype) in expected.items():
        if tensor.dtype != dtype:
            raise ValueError(f"{op}: {name} is {tensor.dtype}, expected {dtype}")
        if tensor.device != device:
            raise ValueError(f"{op}: {name} is on {tensor.device}, expected {device}")
        if not tensor.is_contiguous():
            raise ValueError(
                f"{op}: {name} has strides {tensor.stride()} for shape {tuple(tensor.shape)}, "
                "expected rows without gaps: make it contiguous()"
            )


def check_multiple(op: str, **sizes: tuple[int, int]) -> None:
    """Each size must be a multiple of the number beside it: kernels load 16 bytes at once."""
    for name, (size, factor) in sizes.items():
        if size % factor or not size:
            raise ValueError(f"{op}: {name} = {size}, expected a multiple of {factor}")
