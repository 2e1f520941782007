"""What the rows of a GPU's decodes hold, as the host knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.scheduler import Chunk
from inference.sequence import Sequence


@dataclass(slots=True)
class PlacedRows:
    """Of each decode its seat, the position of its next token and how many blocks it has. tops: by
    seat, how many likelier tokens are told of, for those that ask (`GenerateRequest.logprobs`)."""

    decodes: tuple[Chunk, ...]
    seats: list[int]
    positions: list[int]
    counts: list[int]
    tops: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        asked = zip(self.seats, self.decodes, strict=True)
        tops = {seat: chunk.sequence.request.logprobs for seat, chunk in asked}
        self.tops = {seat: top for seat, top in tops.items() if top is not None}

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
