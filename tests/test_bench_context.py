"""`manage.py bench context`: where facts lie in a text, and a tiny model asked about them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import kernels
from inference.needles import DEPTHS, hidden, needles
from tests.tiny_llama import write_tiny_llama

# needles


def test_a_fact_lies_where_its_depth_says() -> None:
    paragraphs = [f"{index:04} " + "x" * 95 for index in range(100)]
    for turn in range(5):
        facts = needles(turn)
        mixed = hidden("\n\n".join(paragraphs), facts)
        assert [p for p in mixed.split("\n\n") if p[0] != "T"] == paragraphs
        for fact in facts:
            before = mixed.split(fact.sentence)[0]
            assert before.count("x") == pytest.approx(fact.depth * 9500, abs=95)
            assert mixed.count(fact.number) == 1
        ends = {0.0: mixed.startswith, 1.0: mixed.endswith}
        assert all(ends[fact.depth](fact.sentence) for fact in facts if fact.depth in ends)


def test_facts_differ_from_text_to_text_and_every_city_is_seen_at_every_depth() -> None:
    facts = [fact for turn in range(5) for fact in needles(turn)]
    assert facts == [fact for turn in range(5) for fact in needles(turn)]
    assert len({fact.number for fact in facts}) == len(facts) == 25
    assert {(fact.city, fact.depth) for fact in facts} == {
        (fact.city, depth) for fact in facts for depth in DEPTHS
    }


def test_a_text_without_paragraphs_has_facts_at_both_ends() -> None:
    mixed = hidden("words", needles(0)).split("\n\n")
    assert (len(mixed), mixed.count("words")) == (6, 1)
    assert mixed[0] == needles(0)[0].sentence


# manage.py bench context


@pytest.fixture
def command(settings: Any, tmp_path: Path) -> Iterator[Any]:
    """`command(lengths=[1024])`: bench context with a tiny model; returns what it printed."""
    directory = write_tiny_llama(tmp_path / "tiny", context=1024)
    settings.TINYLLM_DATA_DIR, settings.TINYLLM_DEVICE = tmp_path, "cpu"
    settings.TINYLLM_THREADS = 1

    def run(**options: Any) -> str:
        out = io.StringIO()
        call_command("bench", "context", model=str(directory), stdout=out, **options)
        return out.getvalue()

    logger = logging.getLogger("inference")
    level = logger.level
    yield run
    logger.setLevel(level)  # the command makes it quiet
    kernels.use_products(kernels.Products())


@pytest.mark.real_engine
def test_the_command_measures_within_the_limit_and_beyond(command: Any, tmp_path: Path) -> None:
    printed = command(lengths=[2048, 1024], texts=1, output=tmp_path)
    report = json.loads((tmp_path / "context.json").read_text())
    rows = report["rows"]
    read = [(row["length"], row["context"], row["yarn"]) for row in rows]
    assert read == [(1024, 1024, 1.0), (1024, 2048, 2.0), (2048, 2048, 2.0)]
    for row in rows:
        assert (row["trials"], len(row["found_at"])) == (5, 5)
        assert sum(row["found_at"].values()) == row["found"]
        assert row["perplexity"] > 100  # a random model
        assert row["prefill_tokens_per_s"] > 0
        assert row["first_token_s"] > 0
        assert f"{row['perplexity']:.2f}" in printed
    assert rows[0]["perplexity"] != rows[1]["perplexity"]
    assert len(report["text"]["sha256"]) == 64


@pytest.mark.real_engine
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [40000], "texts": 1}, "context_tokens = 40000 .* at most 32768, 32 times"),
        ({"lengths": [600]}, "lengths = 600 is not allowed"),
        ({"lengths": [1024], "texts": 1000}, "lengths = 1024 .* for 1000 texts"),
        ({"texts": 0}, "texts = 0 is not allowed: it must be at least 1"),
        ({"lengths": [2048], "yarn": "off"}, "lengths = 2048 .* at most 1024"),
    ],
)
def test_the_command_says_what_cannot_be(
    command: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        command(**options)
