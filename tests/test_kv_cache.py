"""Blocks are handed out once, come back whole, and hold the text that they are named by; a mistake
in the books is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.sequence import Sequence
from inference.types import GenerateRequest
from tests.scheduler_traffic import sequence

BLOCKS = 12
# Few, so that many texts begin alike.
WORDS = [[word] * BLOCK_SIZE for word in (1, 2)] + [[3], [3, 4, 5]]


def of(tokens: list[int]) -> Sequence:
    return Sequence(GenerateRequest("a", "m", tuple(tokens)), 10**6, 0, 0)


class Books(RuleBasedStateMachine):
    """Sequences come, are computed, grow and go, in any order. What a block holds is written down
    as it is computed: at each place all tokens up to there."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KVCache(BLOCKS)
        self.running: list[Sequence] = []
        self.content: dict[tuple[int, int], tuple[int, ...]] = {}

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), spare=st.integers(0, 3))
    def admit(self, words: list[list[int]], spare: int) -> None:
        its = of([token for word in words for token in word])
        wanted, free = len(its.tokens) + 1, self.cache.free_blocks
        could = self.cache.can_admit(its, wanted, spare)
        assert self.cache.admit(its, wanted, spare) == could
        if could:
            assert free - self.cache.free_blocks <= KVCache.blocks_for(wanted)
            assert self.cache.free_blocks >= spare
            assert its.computed < len(its.tokens)
            self.running.append(its)
            self.must_hold(its, its.computed)
        else:
            assert (its.blocks, its.computed) == ([], 0)
            assert free < KVCache.blocks_for(wanted) + spare

    @rule(which=st.integers(0, 20), most=st.integers(1, 40), token=st.sampled_from([1, 2, 3]))
    def compute(self, which: int, most: int, token: int) -> None:
        if not self.running:
            return
        its = self.running[which % len(self.running)]
        length = min(most, its.pending)
        if not self.cache.grow(its, its.computed + length + 1):
            return
        for position in range(its.computed, its.computed + length):
            place = its.blocks[position // BLOCK_SIZE], position % BLOCK_SIZE
            holders = self.cache._holders[place[0]]
            assert holders == [its], "a block that others read is written"
            self.content[place] = tuple(its.tokens[: position + 1])
        its.computed += length
        if its.computed == len(its.tokens):
            its.tokens.append(token)
        self.cache.publish(its)

    @rule(which=st.integers(0, 20), spoilt=st.booleans())
    def release(self, which: int, spoilt: bool) -> None:
        if self.running:
            its = self.running.pop(which % len(self.running))
            blocks = set(its.blocks)
            self.cache.release(its, spoilt=spoilt)
            assert its.blocks == []
            assert not spoilt or not blocks & self.cache._names.keys()

    def must_hold(self, its: Sequence, count: int) -> None:
        for position in range(count):
            place = its.blocks[position // BLOCK_SIZE], position % BLOCK_SIZE
            assert self.content[place] == tuple(its.tokens[: position + 1])

    @invariant()
    def books_agree(self) -> None:
        self.cache.check_integrity()
        held = {block for its in self.running for block in its.blocks}
        assert self.cache.free_blocks == BLOCKS - len(held)
        for its in self.running:
            self.must_hold(its, its.computed)


Books.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_books = Books.TestCase


@pytest.mark.parametrize(
    ("tokens", "blocks"), [(0, 0), (1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2)]
)
def test_blocks_for_tokens(tokens: int, blocks: int) -> None:
    assert KVCache.blocks_for(tokens) == blocks


def computed(cache: KVCache, tokens: list[int]) -> Sequence:
    """Admitted, and all of it computed."""
    its = of(tokens)
    assert cache.admit(its, len(tokens))
    its.computed = len(tokens)
    cache.publish(its)
    return its


TEXT = list(range(100, 100 + 3 * BLOCK_SIZE))


def test_a_text_that_begins_alike_shares_whole_blocks_while_it_is_held_and_after() -> None:
    cache = KVCache(8)
    first = computed(cache, TEXT)
    second = computed(cache, [*TEXT[: 2 * BLOCK_SIZE], 7])
    assert second.cached == 2 * BLOCK_SIZE
    assert second.blocks[:2] == first.blocks[:2]
    blocks = [*first.blocks]
    cache.release(first)
    cache.release(second)
    assert cache.free_blocks == 8
    again = computed(cache, [*TEXT, 8])
    assert (again.cached, again.blocks[:3]) == (3 * BLOCK_SIZE, blocks)


def test_a_map_shows_how_each_block_or_every_so_many_stands() -> None:
    cache = KVCache(8)
    text = [1] * BLOCK_SIZE
    first = computed(cache, [*text, 2])
    second = computed(cache, [*text, 3])
    assert sorted(cache.block_map(8)) == sorted("32200000")
    left = computed(cache, [*[4] * BLOCK_SIZE, 5])
    cache.release(left)
    assert sorted(cache.block_map(100)) == sorted("32210000")
    assert cache.block_map(4) == cache.block_map(8)[::2]
    assert len(cache.block_map(3)) == 3
    assert KVCache(0).block_map(4) == ""
    for each in (first, second):
        cache.release(each)
    assert sorted(cache.block_map(8)) == sorted("11000000")


def test_the_last_token_is_always_computed() -> None:
    cache = KVCache(8)
    cache.release(computed(cache, TEXT))
    assert computed(cache, TEXT).cached == 2 * BLOCK_SIZE


def test_the_same_tokens_behind_another_text_are_not_the_same() -> None:
    cache = KVCache(8)
    cache.release(computed(cache, TEXT))
    other = [9] * BLOCK_SIZE + TEXT[BLOCK_SIZE:]
    assert computed(cache, other).cached == 0


def test_what_was_left_longest_ago_goes_first_and_its_end_before_its_beginning() -> None:
    cache = KVCache(6)
    for text in (TEXT, [t + 500 for t in TEXT]):
        cache.release(computed(cache, text))
    cache.release(computed(cache, [*TEXT[:BLOCK_SIZE], 1]))  # its beginning is of use again
    computed(cache, [5] * (2 * BLOCK_SIZE))
    assert len(cache._known(of([*TEXT, 1]))) == 1
    assert len(cache._known(of([*(t + 500 for t in TEXT), 1]))) == 3


def test_without_reuse_nothing_is_known() -> None:
    cache = KVCache(8, reuse=False)
    cache.release(computed(cache, TEXT))
    assert computed(cache, TEXT).cached == 0


def test_what_is_known_is_not_counted_as_room_twice() -> None:
    cache = KVCache(4)
    cache.release(computed(cache, TEXT))
    its = of([*TEXT, *range(BLOCK_SIZE)])
    assert not cache.can_admit(its, len(its.tokens), spare=1)
    assert cache.admit(its, len(its.tokens))
    assert cache.free_blocks == 0


@pytest.fixture
def books() -> KVCache:
    """Two sequences hold two blocks each, one was left with its name, three are empty."""
    cache = KVCache(8)
    for i in range(2):
        assert cache.grow(sequence(i, prompt=1, output=1), 2 * BLOCK_SIZE)
    cache.release(computed(cache, TEXT[:BLOCK_SIZE]))
    cache.check_integrity()
    return cache


def holders(cache: KVCache) -> list[Sequence]:
    return list({id(s): s for held in cache._holders.values() for s in held}.values())


def exchange(cache: KVCache) -> None:
    first, second = holders(cache)
    first.blocks[0], second.blocks[0] = second.blocks[0], first.blocks[0]


BROKEN: dict[str, Callable[[KVCache], Any]] = {
    "'empty twice': 1": lambda cache: cache._empty.append(cache._empty[0]),
    "'free and held': 1": lambda cache: cache._empty.append(next(iter(cache._holders))),
    "'lost': 1": lambda cache: cache._empty.pop(),
    "'held but not in their sequence': 2": lambda cache: holders(cache)[0].blocks.clear(),
    "'held but not in their sequence': 2, 'in a seq": exchange,
    "'in a sequence twice': 1": lambda cache: holders(cache)[0].blocks.append(
        holders(cache)[0].blocks[0]
    ),
    "'in a sequence but not held by it': 1": lambda cache: holders(cache)[0].blocks.append(
        cache._empty[0]
    ),
    "'left without a name': 1": lambda cache: cache._names.clear(),
    "'named wrongly': 1": lambda cache: cache._named.clear(),
    "'empty with a name': 1": lambda cache: cache._names.update({cache._empty[0]: b"x"}),
}


@pytest.mark.parametrize("words", BROKEN)
def test_the_check_names_what_is_wrong(books: KVCache, words: str) -> None:
    BROKEN[words](books)
    with pytest.raises(AssertionError, match=f"8 blocks: .*{words}"):
        books.check_integrity()
