"""Who holds which block of the KV cache, and which blocks hold a text that may come again. The
numbers themselves lie in the runner.

A full block has a name: a hash of its tokens and of the name of the block before it, so of the
whole text up to its end. A sequence that begins with the same text shares the block instead of
computing it (automatic prefix caching, Kwon et al., 2023). A named block that nobody holds stays
until room is needed; the one that was left longest ago goes first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

from inference.sequence import Sequence

BLOCK_SIZE = 16
_NAME_BYTES = 16


class KVCache:
    """Blocks of BLOCK_SIZE tokens, handed to sequences and taken back. reuse: whether texts are
    found again."""

    def __init__(self, blocks: int, *, reuse: bool = True) -> None:
        self._total, self._reuse = blocks, reuse
        self._empty = list(range(blocks - 1, -1, -1))
        self._holders: dict[int, list[Sequence]] = {}
        self._names: dict[int, bytes] = {}
        self._named: dict[bytes, int] = {}
        self._left: dict[int, None] = {}  # named, held by nobody, in the order they were left

    @property
    def total_blocks(self) -> int:
        return self._total

    @property
    def free_blocks(self) -> int:
        """Held by nobody."""
        return len(self._empty) + len(self._left)

    @property
    def cached_blocks(self) -> int:
        """Of the free ones, those with a text that may come again."""
        return len(self._left)

    def block_map(self, cells: int) -> str:
        """How its blocks stand: a digit for each of them, or for every so many, that there be at
        most `cells`. 0: free, 1: free with a text that may come again, 2: held, 3: shared."""
        return "".join(map(self._standing, range(0, self._total, -(-self._total // cells) or 1)))

    def _standing(self, block: int) -> str:
        holders = self._holders.get(block)
        if holders:
            return "3" if len(holders) > 1 else "2"
        return "1" if block in self._left else "0"

    @staticmethod
    def blocks_for(tokens: int) -> int:
        return -(-tokens // BLOCK_SIZE)

    def can_admit(self, sequence: Sequence, tokens: int, spare: int = 0) -> bool:
        """Whether `admit` would."""
        return self._is_room(self._known(sequence), tokens, spare)

    def admit(self, sequence: Sequence, tokens: int, spare: int = 0, *, anew: bool = False) -> bool:
        """Give a new sequence room for `tokens` tokens, if so many blocks are free and `spare`
        more. Its beginning comes from what is known, and it is computed from there on. anew: all
        of it is computed."""
        known = [] if anew else self._known(sequence)
        if not self._is_room(known, tokens, spare):
            return False
        for block in known:
            self._left.pop(block, None)
            self._hold(block, sequence)
        sequence.published = len(known)
        sequence.computed = len(known) * BLOCK_SIZE
        if not sequence.output_length:
            sequence.cached = sequence.computed
        return self.grow(sequence, tokens)

    def grow(self, sequence: Sequence, tokens: int) -> bool:
        """Give the sequence what it lacks for `tokens` tokens. False: there are too few blocks,
        and nothing has changed."""
        wanted = self.blocks_for(tokens) - len(sequence.blocks)
        if wanted > self.free_blocks:
            return False
        for _ in range(wanted):
            self._hold(self._take(), sequence)
        return True

    def publish(self, sequence: Sequence) -> None:
        """Name the blocks that its known tokens have filled."""
        if not self._reuse or sequence.computed < (sequence.published + 1) * BLOCK_SIZE:
            return
        full = min(sequence.computed, len(sequence.tokens)) // BLOCK_SIZE
        for index in range(sequence.published, full):
            name, block = _name(sequence, index), sequence.blocks[index]
            if name not in self._named:
                self._named[name] = block
                self._names[block] = name
        sequence.published = full

    def release(self, sequence: Sequence, *, spoilt: bool = False) -> None:
        """Take back what the sequence holds. spoilt: what its blocks hold is of no use."""
        for block in reversed(sequence.blocks):  # the end of a text is of use to fewest
            holders = self._holders[block]
            holders.remove(sequence)
            if spoilt:
                self._unname(block)
            if holders:
                continue
            del self._holders[block]
            if block in self._names:
                self._left[block] = None
            else:
                self._empty.append(block)
        sequence.blocks.clear()
        sequence.published = 0

    def find(self, names: Iterable[bytes]) -> list[int]:
        """The blocks that are there of a text, from its beginning on."""
        blocks: list[int] = []
        for name in names:
            block = self._named.get(name)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def has(self, name: bytes) -> bool:
        return name in self._named

    def forget(self, names: Iterable[bytes]) -> None:
        """Blocks with these names that nobody holds are not found again."""
        for name in names:
            block = self._named.get(name)
            if block in self._left:
                del self._left[block]
                self._unname(block)
                self._empty.append(block)

    def _known(self, sequence: Sequence) -> list[int]:
        """The blocks that hold the beginning of its tokens. Never all of them: what comes after
        the last one must be computed."""
        return self.find(_name(sequence, index) for index in range(findable(sequence)))

    def _is_room(self, known: list[int], tokens: int, spare: int) -> bool:
        """Beside blocks that are there already, of which some count as free."""
        idle = sum(block in self._left for block in known)
        return self.blocks_for(tokens) - len(known) + spare <= self.free_blocks - idle

    def _take(self) -> int:
        """An empty block, or the one that was left longest ago."""
        if self._empty:
            return self._empty.pop()
        oldest = next(iter(self._left))
        del self._left[oldest]
        self._unname(oldest)
        return oldest

    def _hold(self, block: int, sequence: Sequence) -> None:
        self._holders.setdefault(block, []).append(sequence)
        sequence.blocks.append(block)

    def _unname(self, block: int) -> None:
        name = self._names.pop(block, None)
        if name is not None:
            del self._named[name]

    def check_integrity(self) -> None:
        """Each block is empty, left or held, once. Raises AssertionError with the numbers."""
        empty, left, held = set(self._empty), set(self._left), set(self._holders)
        holds = [(block, id(s)) for block, holders in self._holders.items() for s in holders]
        sequences = {id(s): s for holders in self._holders.values() for s in holders}
        owned = [(block, key) for key, s in sequences.items() for block in s.blocks]
        problems = {
            "empty twice": len(self._empty) - len(empty),
            "free and held": len((empty | left) & held) + len(empty & left),
            "lost": self._total - len(empty | left | held),
            "held but not in their sequence": len(set(holds) - set(owned)),
            "in a sequence but not held by it": len(set(owned) - set(holds)),
            "in a sequence twice": len(owned) - len(set(owned)),
            "held twice by one": len(holds) - len(set(holds)),
            "left without a name": len(left - self._names.keys()),
            "named wrongly": len(
                set(self._named.items()) ^ {(n, b) for b, n in self._names.items()}
            ),
            "empty with a name": len(empty & self._names.keys()),
        }
        wrong = {name: count for name, count in problems.items() if count}
        assert not wrong, f"KV cache of {self._total} blocks: {wrong}"


def findable(sequence: Sequence) -> int:
    """How many of its blocks may come from elsewhere: the last token is always computed."""
    return (len(sequence.tokens) - 1) // BLOCK_SIZE


def names_of(sequence: Sequence) -> list[bytes]:
    """Of the blocks that may come from elsewhere."""
    count = findable(sequence)
    if count:
        _name(sequence, count - 1)
    return sequence.names[:count]


def _name(sequence: Sequence, index: int) -> bytes:
    """Of its index-th block. Names are made once: who waits is looked up again at every step."""
    names = sequence.names
    for i in range(len(names), index + 1):
        text = array("q", sequence.tokens[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE]).tobytes()
        before = names[-1] if names else b""
        names.append(blake2b(before + text, digest_size=_NAME_BYTES).digest())
    return names[index]
