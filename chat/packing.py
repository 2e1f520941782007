"""Token ids in a database column: little-endian uint32, four bytes each."""

from __future__ import annotations

import struct
from collections.abc import Sequence

NUMBER_SIZE = 4
"""Bytes of one."""


def pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def unpack(data: bytes | memoryview) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def of_shown_text(ids: list[int], offsets: list[int], length: int) -> tuple[list[int], list[int]]:
    """The tokens of a text of which `length` characters were shown, and their offsets. What was
    held back (half a character, what might have become a stop string) was never part of the
    answer, and a continuation writes it again."""
    kept = len(ids)
    while kept and offsets[kept - 1] >= length:
        kept -= 1
    return ids[:kept], offsets[:kept]
