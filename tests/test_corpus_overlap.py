"""How much of new stories a corpus has word for word is counted exactly, window by window."""

from __future__ import annotations

import numpy as np

from inference.corpus import grammar, overlap, quality


def test_codes_are_of_windows() -> None:
    words = list("abcdefghi")
    one, two = overlap.codes(words)
    assert one != two
    assert list(overlap.codes(words[1:])) == [two]
    assert len(overlap.codes(words[:7])) == 0
    assert list(overlap.codes(list(reversed(words)))) != [two, one]


def test_overlap_counts_what_was_read_before() -> None:
    new = overlap.fresh("en", 12)
    assert len(new.codes) == len(new.story) == sum(len(its) - 7 for its in new.units)
    first, times = overlap.met("en", new, 60_000, chunk=100)
    assert np.array_equal(first >= 0, [times[int(code)] > 0 for code in new.codes])
    small, large = (overlap.shares(new, first, words)["all"] for words in (30_000, 90_000))
    assert 0 < small < large < 0.3
    assert overlap.most_said(new, times)[0][0] >= 1


def test_a_story_that_was_read_is_known() -> None:
    words = quality.units(grammar.write("en", overlap.CORPUS_SEED, 3))
    its = overlap.codes(words)
    new = overlap.Fresh([words], ["open"], its, np.zeros(len(its), np.int64))
    first, _ = overlap.met("en", new, 1, chunk=10)
    assert (first > 0).all()
