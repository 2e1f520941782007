"""Blocks are handed out once, come back whole, and a mistake in the books is named."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.kv_cache import BLOCK_SIZE, KVCache
from tests.scheduler_traffic import sequence

BLOCKS = 12


class Ownership(RuleBasedStateMachine):
    """Any order of reserving, growing and releasing, against a dictionary of how many each has."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KVCache(BLOCKS)
        self.sequences = [sequence(i, prompt=1, output=1) for i in range(4)]
        self.counts = [0] * 4

    @rule(which=st.integers(0, 3), tokens=st.integers(0, 6 * BLOCK_SIZE))
    def reserve(self, which: int, tokens: int) -> None:
        wanted = max(-(-tokens // BLOCK_SIZE), self.counts[which])
        free = BLOCKS - sum(self.counts)
        before = [*self.sequences[which].blocks]
        if wanted - self.counts[which] > free:
            with pytest.raises(MemoryError, match=f"{free} free"):
                self.cache.reserve(self.sequences[which], tokens)
            assert self.sequences[which].blocks == before
        else:
            self.cache.reserve(self.sequences[which], tokens)
            self.counts[which] = wanted
            assert self.sequences[which].blocks[: len(before)] == before

    @rule(which=st.integers(0, 3))
    def release(self, which: int) -> None:
        self.cache.release(self.sequences[which])
        self.counts[which] = 0

    @precondition(lambda self: sum(self.counts) == 0)
    @rule()
    def nobody_holds_anything(self) -> None:
        assert self.cache.can_hold(BLOCKS * BLOCK_SIZE)
        assert not self.cache.can_hold(BLOCKS * BLOCK_SIZE + 1)

    @invariant()
    def books_agree(self) -> None:
        self.cache.check_integrity()
        assert [len(s.blocks) for s in self.sequences] == self.counts
        assert self.cache.free_blocks == BLOCKS - sum(self.counts)
        held = [block for s in self.sequences for block in s.blocks]
        assert len(set(held)) == len(held)
        assert set(held) <= set(range(BLOCKS))


Ownership.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
test_ownership = Ownership.TestCase


@pytest.mark.parametrize(
    ("tokens", "blocks"), [(0, 0), (1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2)]
)
def test_blocks_for_tokens(tokens: int, blocks: int) -> None:
    assert KVCache.blocks_for(tokens) == blocks


@pytest.fixture
def books() -> KVCache:
    """Two sequences hold two blocks each, four are free."""
    cache = KVCache(8)
    for i in range(2):
        cache.reserve(sequence(i, prompt=1, output=1), 2 * BLOCK_SIZE)
    cache.check_integrity()
    return cache


def test_the_check_names_a_block_that_is_free_twice(books: KVCache) -> None:
    books._free.append(books._free[0])
    with pytest.raises(AssertionError, match=r"8 blocks: \{'free twice': 1\}"):
        books.check_integrity()


def test_the_check_names_a_block_that_is_free_and_held(books: KVCache) -> None:
    books._free.append(next(iter(books._held)))
    with pytest.raises(AssertionError, match="'free and held': 1"):
        books.check_integrity()


def test_the_check_names_a_lost_block(books: KVCache) -> None:
    books._free.pop()
    with pytest.raises(AssertionError, match="'lost': 1"):
        books.check_integrity()


def test_the_check_names_blocks_that_their_sequence_forgot(books: KVCache) -> None:
    next(iter(books._held.values())).blocks.clear()
    with pytest.raises(AssertionError, match="'held but not in their sequence': 2"):
        books.check_integrity()


def test_the_check_names_blocks_that_two_sequences_exchanged(books: KVCache) -> None:
    first, second = {id(s): s for s in books._held.values()}.values()
    first.blocks[0], second.blocks[0] = second.blocks[0], first.blocks[0]
    with pytest.raises(AssertionError, match="'held but not in their sequence': 2"):
        books.check_integrity()


def test_the_check_names_a_block_that_is_in_a_sequence_twice(books: KVCache) -> None:
    its = next(iter(books._held.values()))
    its.blocks.append(its.blocks[0])
    with pytest.raises(AssertionError, match=r"\{'in a sequence twice': 1\}"):
        books.check_integrity()


def test_the_check_names_a_block_that_a_sequence_took(books: KVCache) -> None:
    next(iter(books._held.values())).blocks.append(books._free[0])
    with pytest.raises(AssertionError, match=r"\{'in a sequence but not held by it': 1\}"):
        books.check_integrity()
