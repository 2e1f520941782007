"""What the memory of a GPU is taken for, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class MemoryLedger:
    """bytes: of the tensors that were made under each name and are kept."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    @contextmanager
    def entry(self, name: str) -> Iterator[None]:
        before = torch.cuda.memory_allocated()
        yield
        taken = torch.cuda.memory_allocated() - before
        self.bytes[name] = self.bytes.get(name, 0) + taken
