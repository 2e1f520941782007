"""Weights from safetensors files, used where they lie: mapped into memory, never copied.

One file `model.safetensors`, or shards named by `model.safetensors.index.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from inference.errors import ModelInvalid, ModelUnavailable

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def stored_as(dtype: str) -> torch.dtype | None:
    """Of an option's name; None for "auto", each tensor as it is stored."""
    return None if dtype == "auto" else getattr(torch, dtype)


class TensorSource(Protocol):
    """Where an architecture takes its tensors from."""

    @property
    def dtype(self) -> torch.dtype: ...
    def __contains__(self, name: str) -> bool: ...
    def take(self, name: str, *shape: int) -> torch.Tensor:
        """Once for each tensor. Raises ModelInvalid."""

    def finish(self, *, ignore: tuple[str, ...] = ()) -> None:
        """All has been taken. Raises ModelInvalid for what is left over."""


class Weights:
    """The tensors of one model by name. `take` hands each out once, in its shape or not at all;
    `finish` complains about those nobody took."""

    def __init__(self, directory: Path, dtype: torch.dtype | None = None) -> None:
        """dtype None keeps each tensor as stored; otherwise it is converted, which copies it."""
        self._dtype = dtype
        self._tensors: dict[str, torch.Tensor] = {}
        self._directory = directory
        self._first_matrix: tuple[str, torch.dtype] | None = None
        for path in weight_files(directory):
            with _reading(path), safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (safe_open is not a dict)
                    self._tensors[name] = file.get_tensor(name)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the largest tensor as it will be handed out."""
        if self._dtype is not None:
            return self._dtype
        return max(self._tensors.values(), key=torch.Tensor.numel).dtype

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """Raises ModelInvalid that names the tensor when it is missing or misshapen."""
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            raise ModelInvalid(f"{self._directory}: the tensor {name} is missing.", tensor=name)
        if tuple(tensor.shape) != shape:
            raise ModelInvalid(
                f"{self._directory}: the tensor {name} has shape {list(tensor.shape)}, but "
                f"config.json asks for {list(shape)}.",
                tensor=name,
                shape=list(tensor.shape),
                expected=list(shape),
            )
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise ModelInvalid(
                f"{self._directory}: the tensor {name} is stored as {tensor.dtype}; "
                "supported are float32, float16 and bfloat16.",
                tensor=name,
            )
        if self._dtype is not None:
            return tensor.to(self._dtype)
        if tensor.dim() == 2:
            self._check_precision(name, tensor.dtype)
        return tensor

    def _check_precision(self, name: str, dtype: torch.dtype) -> None:
        """Products are made for matrices of one precision."""
        first, expected = self._first_matrix = self._first_matrix or (name, dtype)
        if dtype != expected:
            raise ModelInvalid(
                f"{self._directory}: the tensor {name} is stored as {dtype}, but {first} as "
                f"{expected}. Convert the model to one precision.",
                tensor=name,
            )

    def finish(self, *, ignore: tuple[str, ...] = ()) -> None:
        """Raises ModelInvalid that names the tensors left over, except buffers ending in
        one of `ignore`."""
        extra = sorted(name for name in self._tensors if not name.endswith(ignore or ("\0",)))
        if extra:
            shown = ", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if extra[5:] else "")
            raise ModelInvalid(
                f"{self._directory}: tensors that config.json has no place for: {shown}.",
                tensors=extra,
            )


def weight_files(directory: Path) -> list[Path]:
    """The files that hold a model's weights. Raises ModelUnavailable, ModelInvalid."""
    single, index = directory / SINGLE, directory / INDEX
    if single.exists():
        return [single]
    if not index.exists():
        raise ModelUnavailable(f"{single} is missing.", path=str(single))
    files = [directory / name for name in _shards(index)]
    for path in files:
        if not path.exists():
            raise ModelUnavailable(f"{path} is missing.", path=str(path))
    return files


def _shards(index: Path) -> list[str]:
    """The names of the files in an index, which all lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelInvalid(f"{index} cannot be read: {error!r}", path=str(index)) from error
    wrong = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if wrong or not names:
        raise ModelInvalid(f"{index} must name files beside it, not {wrong}.", path=str(index))
    return names


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise ModelInvalid(
            f"{path} is damaged or only partly downloaded: {error}. Remove the model and fetch "
            "it again.",
            path=str(path),
        ) from error
