"""Token ids in a database column: little-endian uint32, four bytes each."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def unpack(data: bytes | memoryview) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))
