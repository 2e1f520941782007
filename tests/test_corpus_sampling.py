"""Stories sampled with the engine, on a tiny random model: what is drawn, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.corpus import prompts
from inference.corpus.recipe import CorpusError, Job, Recipe
from inference.corpus.sampling import Writer, best
from tests.test_corpus_quality import BAD, GOOD
from tests.tiny_llama import write_tiny_llama


@pytest.mark.real_engine
def test_a_sampled_story_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    writer = Writer("teacher", write_tiny_llama(tmp_path / "tiny", context=512), Recipe(1))
    writer.sampling["temperature"] = 2.0  # a random model ends by itself now and then
    writer.sampling["top_p"] = 1.0
    together = writer.stories(Job("teacher", "en", 0, 0, 8))
    apart = [*writer.stories(Job("teacher", "en", 0, 0, 1))]
    for first in range(1, 8):
        apart += writer.stories(Job("teacher", "en", 0, first, 1))
    assert together == apart
    assert len({text for (text,) in together if text is not None}) > 1


def test_the_best_attempt_is_a_good_one() -> None:
    assert best([None, BAD["loop"], GOOD]) == (GOOD, None)
    assert best([None, GOOD + " " + GOOD.split(". ")[0] + ".", GOOD])[0] == GOOD
    assert best([BAD["loop"], None]) == ("", "loop")
    assert best([None]) == ("", "cut off")


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--teacher"):
        Writer("teacher", tmp_path / "nothing", Recipe(1))


def test_orders_and_openings_are_whole_sentences() -> None:
    for index in range(50):
        order, opening = prompts.order(1, index), prompts.opening(1, index)
        assert "{" not in order + opening
        assert order.startswith(("Write", "Tell", "Please"))
        assert len(opening) > 20


def test_tidy_takes_off_titles_and_curly_marks() -> None:
    assert prompts.tidy("**The Cat**\n\n“Hello,”  said the cat. ") == '"Hello," said the cat.'
