"""Shapes are checked by named symbols before a kernel reads memory it should not."""

from __future__ import annotations

import torch


def check_shapes(op: str, /, **arguments: tuple[torch.Tensor, str]) -> dict[str, int]:
    """Each argument is (tensor, "T H ..."): every symbol must have one size across all arguments;
    a number in the text must be that size. Returns the sizes by symbol.

    Raises ValueError that names the op, the argument, the symbol and both sizes.
    """
    sizes: dict[str, int] = {}
    for name, (tensor, spec) in arguments.items():
        symbols = spec.split()
        if tensor.dim() != len(symbols):
            raise ValueError(
                f"{op}: {name} must have dimensions [{spec}], it has shape {tuple(tensor.shape)}"
            )
        for symbol, size in zip(symbols, tensor.shape, strict=True):
            expected = int(symbol) if symbol.isdigit() else sizes.setdefault(symbol, size)
            if size != expected:
                raise ValueError(
                    f"{op}: {name} has {symbol} = {size} in shape {tuple(tensor.shape)}, "
                    f"expected {symbol} = {expected}"
                )
    return sizes
