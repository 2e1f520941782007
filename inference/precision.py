"""Weights from one precision to another, one tensor in memory at a time.

The error that rounding makes is measured on every element and reported; a value that float16
cannot hold is refused by name rather than turned into infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import safe_open

from inference.safetensors_file import TensorLayout, read_header, write_file

DType = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[DType, ...] = get_args(DType)

_TORCH: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
SAFETENSORS_NAMES: dict[DType, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class ConversionError(ValueError):
    """The weights cannot be converted as asked. The message names the tensor or setting."""


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that is read when it is needed. dtype is safetensors' word for it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    @property
    def floating(self) -> bool:
        return self.dtype.startswith(("F", "BF"))


@dataclass(frozen=True, slots=True)
class Rounding:
    """The largest |stored - source| over all elements, and where it is."""

    error: float = 0.0
    tensor: str = ""
    value: float = 0.0

    def __str__(self) -> str:
        if not self.tensor:
            return "no rounding: every value is stored exactly"
        value = f"of the value {self.value:.6g}"
        return f"largest rounding error {self.error:.3g} ({value}) in {self.tensor}"


def write_weights(path: Path, tensors: Sequence[LazyTensor], dtype: DType) -> Rounding:
    """Write one safetensors file with every floating tensor in `dtype`; others stay as they are.

    Raises ConversionError when a value is not finite, or not finite in `dtype`.
    """
    worst = Rounding()
    layouts = {
        tensor.name: TensorLayout(_stored_dtype(tensor, dtype), tensor.shape) for tensor in tensors
    }

    def stored() -> Iterator[tuple[str, memoryview]]:
        nonlocal worst
        for tensor in tensors:
            data = tensor.load()
            if tensor.floating:
                data, rounding = cast(tensor.name, data, dtype)
                worst = max(worst, rounding, key=lambda r: r.error)
            yield tensor.name, data.contiguous().view(-1).view(torch.uint8).numpy().data

    write_file(path, layouts, stored())
    return worst


def cast(name: str, source: torch.Tensor, dtype: DType) -> tuple[torch.Tensor, Rounding]:
    """`source` rounded to `dtype`, and the largest error made. Raises ConversionError."""
    stored = source.to(_TORCH[dtype])
    if not bool(torch.isfinite(stored).all()):
        value = source[~torch.isfinite(stored)].flatten()[0].item()
        raise ConversionError(
            f"{name} holds {value:.6g}, which {dtype} cannot store (its largest value is "
            f"{torch.finfo(_TORCH[dtype]).max:.6g}). Use bfloat16 or float32."
        )
    wide = torch.float64 if source.dtype == torch.float64 else torch.float32
    errors = (stored.to(wide) - source.to(wide)).abs().flatten()
    if errors.numel() == 0 or errors.max() == 0:
        return stored, Rounding()
    index = int(errors.argmax())
    return stored, Rounding(errors[index].item(), name, source.flatten()[index].item())


def safetensors_weights(directory: Path) -> list[LazyTensor]:
    """Every tensor of a directory, sharded or not. Raises DamagedFileError, ConversionError."""
    tensors: dict[str, LazyTensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        for name, entry in read_header(path).items():
            if name in tensors:
                raise ConversionError(f"{name} is in more than one file of {directory}")
            tensors[name] = LazyTensor(
                name, entry["dtype"], tuple(entry["shape"]), _loader(path, name)
            )
    if not tensors:
        raise ConversionError(f"{directory} has no .safetensors file")
    return list(tensors.values())


def _loader(path: Path, name: str) -> Callable[[], torch.Tensor]:
    def load() -> torch.Tensor:
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    return load


def _stored_dtype(tensor: LazyTensor, dtype: DType) -> str:
    return SAFETENSORS_NAMES[dtype] if tensor.floating else tensor.dtype
