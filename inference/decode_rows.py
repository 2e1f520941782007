"""What the rows of a GPU's decodes hold, as the host knows it."""

from __future__ import annotations

from dataclasses import dataclass

from inference.scheduler import Chunk
from inference.sequence import Sequence


@dataclass(slots=True)
class PlacedRows:
    """Of each decode its seat, the position of its next token and how many
    blocks it has."""

    decodes: tuple[Chunk, ...]
    seats: list[int]
    positions: list[int]
    counts: list[int]

    def by_seat(self) -> dict[int, tuple[Sequence, int, int]]:
        """As `DecodeBuffers.fill` takes it."""
        sequences = [chunk.sequence for chunk in self.decodes]
        return dict(
            zip(self.seats, zip(sequences, self.positions, self.counts, strict=True), strict=True)
        )

    def grown(self, counts: list[int]) -> list[tuple[int, int, list[int]]]:
        """Takes the new counts, and returns the blocks that were added, as
        `DecodeBuffers.extend` takes them."""
        before, self.counts = self.counts, counts
        rows = zip(self.decodes, self.seats, before, counts, strict=True)
        return [(seat, n, chunk.sequence.blocks[n:m]) for chunk, seat, n, m in rows if m > n]

    def move_on(self) -> None:
        """A step has been launched: each row is at its next position."""
        self.positions = [position + 1 for position in self.positions]
