"""What a kernel's geometry depends on: the limits of the GPU it runs on."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Device:
    """shared_bytes: the most that one block may have. l2_bytes: of the cache that all share."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    l2_bytes: int


def device() -> Device:
    """torch's current GPU. Raises RuntimeError where there is none."""
    return _device(torch.cuda.current_device())


def free_bytes() -> int:
    """Memory of the current GPU that nobody has taken."""
    free: int = torch.cuda.mem_get_info()[0]
    return free


@functools.cache
def _device(index: int) -> Device:
    properties: Any = torch.cuda.get_device_properties(index)  # its type lacks some attributes
    return Device(
        name=properties.name,
        capability=(properties.major, properties.minor),
        multiprocessors=properties.multi_processor_count,
        shared_bytes=properties.shared_memory_per_block_optin,
        l2_bytes=properties.L2_cache_size,
    )
