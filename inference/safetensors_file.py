"""Just enough of the safetensors format to write a file tensor by tensor and to tell a whole file
from a truncated one. No torch: listing models must not load it.

A file is: 8 bytes little-endian header length N, N bytes of JSON (tensor name -> dtype, shape,
[begin, end) offsets into the data), then the data without gaps.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000


class DamagedFileError(ValueError):
    """The file is not a whole safetensors file. The message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """dtype is safetensors' word for it, such as F16."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Header:
    """tensors: name -> {dtype, shape, data_offsets}. begin: where the data starts in the file."""

    tensors: dict[str, Any]
    metadata: dict[str, str]
    begin: int


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name -> {dtype, shape, data_offsets}, without `__metadata__`; checks the file's size.

    Reads only the header. Raises DamagedFileError, or OSError when the file cannot be opened.
    """
    with path.open("rb") as file:
        return header_of(file, path.name).tensors


def header_of(file: BinaryIO, name: str) -> Header:
    """Of an open file, at its beginning. Raises DamagedFileError, OSError."""
    size = size_of(file)
    prefix = file.read(_LENGTH_BYTES)
    if len(prefix) < _LENGTH_BYTES:
        raise DamagedFileError(f"{name} is {size} bytes long, too short to be safetensors")
    length = int(struct.unpack("<Q", prefix)[0])
    if length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        raise DamagedFileError(f"{name} ends inside its header, or is not safetensors")
    try:
        tensors = dict(json.loads(file.read(length)))
        metadata = dict(tensors.pop("__metadata__", None) or {})
        data_bytes = max((int(t["data_offsets"][1]) for t in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise DamagedFileError(f"{name} has an unreadable header") from error
    expected = _LENGTH_BYTES + length + data_bytes
    if size != expected:
        raise DamagedFileError(
            f"{name} is {size:,} bytes long but its header promises {expected:,}"
        )
    return Header(tensors, metadata, _LENGTH_BYTES + length)


def size_of(file: BinaryIO) -> int:
    """Of all that can be read in an open file, which stands where it stood before."""
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size


def encoded_header(
    layouts: Mapping[str, TensorLayout], metadata: Mapping[str, str] | None = None
) -> bytes:
    """What stands before the data of tensors in the order of `layouts`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"} | dict(metadata or {})}
    begin = 0
    for name, layout in layouts.items():
        end = begin + layout.nbytes
        header[name] = {
            "dtype": layout.dtype,
            "shape": list(layout.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    return struct.pack("<Q", len(encoded)) + encoded


def write_file(
    path: Path,
    layouts: Mapping[str, TensorLayout],
    tensors: Iterable[tuple[str, memoryview]],
) -> None:
    """Write `tensors`, which must arrive in the order of `layouts`, holding one at a time.

    Raises ValueError when a tensor's name or size is not the one that its layout says.
    """
    with path.open("wb") as file:
        file.write(encoded_header(layouts))
        for (name, data), (expected, layout) in zip(tensors, layouts.items(), strict=True):
            if name != expected or data.nbytes != layout.nbytes:
                raise ValueError(
                    f"{name} has {data.nbytes} bytes where {expected} of {layout.nbytes} was due"
                )
            file.write(data)
