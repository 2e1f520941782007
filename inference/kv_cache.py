"""Who holds which block of the KV cache. The numbers themselves lie in the runner."""

from __future__ import annotations

from inference.sequence import Sequence

BLOCK_SIZE = 16


class KVCache:
    """Blocks of BLOCK_SIZE tokens, handed to sequences and taken back whole."""

    def __init__(self, blocks: int) -> None:
        self._total = blocks
        self._free = list(range(blocks - 1, -1, -1))
        self._held: dict[int, Sequence] = {}

    @property
    def total_blocks(self) -> int:
        return self._total

    @property
    def free_blocks(self) -> int:
        return len(self._free)

    @staticmethod
    def blocks_for(tokens: int) -> int:
        return -(-tokens // BLOCK_SIZE)

    def can_hold(self, tokens: int) -> bool:
        """Whether a new sequence could grow to so many tokens now."""
        return self.blocks_for(tokens) <= len(self._free)

    def reserve(self, sequence: Sequence, tokens: int) -> None:
        """Give the sequence the blocks for `tokens` tokens. MemoryError when there are too few;
        nothing has changed then."""
        wanted = self.blocks_for(tokens) - len(sequence.blocks)
        if wanted > len(self._free):
            raise MemoryError(f"{wanted} KV cache blocks wanted, {len(self._free)} free")
        for _ in range(wanted):
            block = self._free.pop()
            self._held[block] = sequence
            sequence.blocks.append(block)

    def release(self, sequence: Sequence) -> None:
        """Take back all blocks of the sequence."""
        for block in sequence.blocks:
            del self._held[block]
        self._free.extend(reversed(sequence.blocks))
        sequence.blocks.clear()

    def check_integrity(self) -> None:
        """Every block is free or held, once. Raises AssertionError that names the numbers."""
        free, held = set(self._free), {(b, id(s)) for b, s in self._held.items()}
        owned = [(b, id(s)) for s in set(self._held.values()) for b in s.blocks]
        problems = {
            "free twice": len(self._free) - len(free),
            "free and held": len(free & self._held.keys()),
            "lost": self._total - len(free | self._held.keys()),
            "held but not in their sequence": len(held - set(owned)),
            "in a sequence but not held by it": len(set(owned) - held),
            "in a sequence twice": len(owned) - len(set(owned)),
        }
        wrong = {name: count for name, count in problems.items() if count}
        assert not wrong, f"KV cache of {self._total} blocks: {wrong}"
