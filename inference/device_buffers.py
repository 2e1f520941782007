"""Memory on the GPU that the host fills: rows of decodes, and packets of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as PySequence
from typing import Any

import numpy as np
import torch

from inference.kv_cache import BLOCK_SIZE
from inference.sequence import Sequence
from kernels import DecodeRows, SampledRows

Array = np.ndarray[Any, np.dtype[Any]]

_ALIGNMENT = 16


class Packet:
    """Arrays on a GPU, side by side in one piece of memory: each copy of them is one, and nobody
    waits for it."""

    def __init__(self, device: torch.device, arrays: Iterable[Array]) -> None:
        arrays, offset = tuple(arrays), 0
        self.tensors: list[torch.Tensor] = []
        self._memory = _packed(arrays).to(device, non_blocking=True)
        for array in arrays:
            part = self._memory[offset : offset + array.nbytes]
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
            self.tensors.append(part.view(dtype).view(array.shape))
            offset += _aligned(array.nbytes)

    def write(self, arrays: Iterable[Array]) -> None:
        """Others of the same types and shapes."""
        self._memory.copy_(_packed(tuple(arrays)), non_blocking=True)


def _packed(arrays: tuple[Array, ...]) -> torch.Tensor:
    packet = torch.empty(
        sum(_aligned(array.nbytes) for array in arrays), dtype=torch.uint8, pin_memory=True
    )
    view, offset = packet.numpy(), 0
    for array in arrays:
        view[offset : offset + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).ravel()
        offset += _aligned(array.nbytes)
    return packet


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class DecodeBuffers:
    """What a decode reads, a row for each seat: all of it in one piece of memory, at fixed
    addresses. Rows of empty seats are padding: context 0, slot -1."""

    def __init__(self, seats: int, width: int, spare: int, device: torch.device) -> None:
        """width: the most blocks of one sequence. spare: a block that padding may write to."""
        self._seats, self._width, self._spare = seats, width, spare
        # positions and slots as int64, then context lengths, seats and block tables as int32
        size = seats * (8 + 8 + 4 + 4 * width)
        self._memory = torch.zeros(size, dtype=torch.uint8, device=device)
        wide = self._memory[: seats * 16].view(torch.int64)
        narrow = self._memory[seats * 16 :].view(torch.int32)
        self.positions, self.slots = wide[:seats], wide[seats:]
        self.context_lens = narrow[:seats]
        self.block_tables = narrow[seats:].view(seats, width)
        self.seats = torch.arange(seats, dtype=torch.int32, device=device)
        # a row's token is what its seat sampled last
        self.ids = -1 - torch.arange(seats, dtype=torch.int64, device=device)
        self.clear()

    def sampled_rows(self, rows: slice) -> SampledRows:
        decode = DecodeRows(
            self.positions[rows], self.slots[rows], self.block_tables[rows], BLOCK_SIZE
        )
        return SampledRows(self.seats[rows], self.context_lens[rows], decode)

    def clear(self) -> None:
        """Padding everywhere."""
        self.fill({})

    def fill(self, rows: Mapping[int, tuple[Sequence, int, int]]) -> None:
        """Of each seat the sequence, the position of the token that is to be computed, and how many
        of its blocks there are."""
        seats, host = self._seats, np.zeros(self._memory.numel(), np.uint8)
        wide, narrow = host[: seats * 16].view(np.int64), host[seats * 16 :].view(np.int32)
        positions, slots, lengths = wide[:seats], wide[seats:], narrow[:seats]
        tables = narrow[seats:].reshape(seats, self._width)
        slots[:] = -1
        tables[:] = self._spare
        for seat, (sequence, position, count) in rows.items():
            blocks = sequence.blocks[:count]
            positions[seat], lengths[seat] = position, position + 1
            slots[seat] = blocks[position // BLOCK_SIZE] * BLOCK_SIZE + position % BLOCK_SIZE
            tables[seat] = -1
            tables[seat, : len(blocks)] = blocks
        self._memory.copy_(torch.from_numpy(host).pin_memory(), non_blocking=True)

    def extend(self, added: Iterable[tuple[int, int, PySequence[int]]]) -> None:
        """Of some seats the blocks that were added to their tables, from which entry on."""
        entries = [(seat, first + i, b) for seat, first, bs in added for i, b in enumerate(bs)]
        where = np.array(entries, np.int64)
        seats, columns, blocks = Packet(self._memory.device, where.T).tensors
        self.block_tables[seats, columns] = blocks.int()

    def save(self) -> torch.Tensor:
        return self._memory.clone()

    def restore(self, saved: torch.Tensor) -> None:
        self._memory.copy_(saved)
