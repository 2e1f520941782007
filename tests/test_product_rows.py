"""Where products change over: measured once on a machine, kept, read back without measuring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import kernels
from kernels import product_rows


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for choices; the limit is as before after the test."""
    monkeypatch.setattr(product_rows, "_limit", product_rows._limit)
    return tmp_path / "var" / "products.json"


def faster_up_to(limit: int) -> Callable[[int], tuple[float, float]]:
    return lambda rows: (1.0, 2.0) if rows <= limit else (2.0, 1.0)


def never(rows: int) -> tuple[float, float]:
    raise AssertionError("measured again")


@pytest.mark.parametrize(
    ("faster", "limit"), [(0, 1), (8, 8), (33, 32), (100, 64), (256, 256), (10**6, 256)]
)
def test_the_limit_is_the_last_candidate_that_ours_wins(
    store: Path, faster: int, limit: int
) -> None:
    product_rows.choose("machine", store, faster_up_to(faster))
    assert product_rows.limit() == limit


def test_a_choice_is_kept_and_not_measured_again(store: Path) -> None:
    product_rows.choose("machine", store, faster_up_to(16))
    product_rows.choose("another", store, faster_up_to(128))
    assert json.loads(store.read_text()) == {"machine": 16, "another": 128}
    product_rows.choose("machine", store, never)
    assert product_rows.limit() == 16
    product_rows.choose("another", store, never)
    assert product_rows.limit() == 128


@pytest.mark.parametrize("content", ["", '{"machine": 1', "[]", '{"machine": "x"}', "\x00\xff"])
def test_a_damaged_file_is_measured_again(store: Path, content: str) -> None:
    store.parent.mkdir()
    store.write_text(content, encoding="latin-1")
    product_rows.choose("machine", store, faster_up_to(16))
    assert product_rows.limit() == 16
    assert json.loads(store.read_text()) == {"machine": 16}


def test_a_folder_that_may_only_be_read_costs_a_measurement(store: Path) -> None:
    store.parent.write_text("a file where the folder should be")
    product_rows.choose("machine", store, faster_up_to(16))
    assert product_rows.limit() == 16


def test_the_best_of_several_runs_counts_and_the_first_does_not() -> None:
    runs: list[None] = []
    seconds = product_rows.best_of(lambda: runs.append(None), times=3)
    assert len(runs) == 4
    assert 0 <= seconds < 60


def test_tuning_measures_both_ways_on_the_matrix(store: Path) -> None:
    kernels.tune_products([torch.randn(40, 16).half()], "machine", store)
    first = json.loads(store.read_text())["machine"]
    assert first in (1, *product_rows._CANDIDATES)
    assert product_rows.limit() == first
    store.write_text('{"machine": 5}')
    kernels.tune_products([torch.randn(40, 16).half()], "machine", store)
    assert product_rows.limit() == 5
