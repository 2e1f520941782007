"""Shapes are checked by named symbols before a kernel reads memory it should not."""

from __future__ import annotations

import functools

import torch


def check_shapes(op: str, specs: str, *tensors: torch.Tensor) -> dict[str, int]:
    """specs names the arguments and their dimensions, "x[T H] weight[H]", in the order of the
    tensors. Every symbol must have one size across all arguments. Returns the sizes by symbol.

    Raises ValueError that names the op, the argument, the symbol and both sizes.
    """
    return _checked(op, specs, tuple([tensor.shape for tensor in tensors]))


@functools.lru_cache(maxsize=4096)
def _checked(op: str, specs: str, shapes: tuple[torch.Size, ...]) -> dict[str, int]:
    """The same shapes come again at every step: looking them up takes a microsecond."""
    sizes: dict[str, int] = {}
    for (name, symbols), shape in zip(_parsed(specs), shapes, strict=True):
        if len(shape) != len(symbols):
            raise ValueError(
                f"{op}: {name} must have dimensions {list(symbols)}, its shape is {tuple(shape)}"
            )
        for symbol, size in zip(symbols, shape, strict=True):
            expected = sizes.setdefault(symbol, size)
            if size != expected:
                raise ValueError(
                    f"{op}: {name} has {symbol} = {size} in shape {tuple(shape)}, "
                    f"expected {symbol} = {expected}"
                )
    return sizes


def _parsed(specs: str) -> list[tuple[str, tuple[str, ...]]]:
    arguments = [part.split("[") for part in specs.split("]") if part.strip()]
    return [(name.strip(), tuple(symbols.split())) for name, symbols in arguments]
