"""Where products on CUDA go: what was asked for, and the table of what was measured."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from kernels.product_choice import Products, WayTable, products, use_products, way_table

TIMES = {"few": 2.0, "tiles": 1.0, "torch": 3.0}


def timed(measured: list[str]) -> Callable[[Callable[[], object]], float]:
    """A clock that knows what each run will take, and writes down which it was shown."""

    def seconds(run: Callable[[], object]) -> float:
        way = str(run())
        measured.append(way)
        return TIMES[way]

    return seconds


def runs(*ways: str) -> dict[str, Callable[[], object]]:
    return {way: lambda way=way: way for way in ways}  # type: ignore[misc]


def test_the_fastest_is_taken_and_measured_once() -> None:
    table, measured = WayTable(), list[str]()
    table.choose("a", runs("few", "tiles", "torch"), timed(measured))
    table.choose("a", runs("few", "tiles", "torch"), timed(measured))
    assert table.find("a") == "tiles"
    assert measured == ["few", "tiles", "torch"]
    assert table.find("b") is None


def test_a_way_that_is_not_possible_any_more_is_measured_again() -> None:
    table, measured = WayTable({"a": "gone"}), list[str]()
    table.choose("a", runs("few", "torch"), timed(measured))
    assert table.find("a") == "few"


def test_a_table_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ways.json"
    WayTable({"a": "torch"}).save(path)
    assert WayTable.load(path).find("a") == "torch"
    assert [file.name for file in path.parent.iterdir()] == ["ways.json"]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "{"])
def test_a_damaged_table_is_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ways.json"
    path.write_text(text)
    assert WayTable.load(path).find("a") is None
    assert WayTable.load(tmp_path / "missing").find("a") is None


def test_what_excludes_torch() -> None:
    assert Products().may_be_torchs(torch.float16)
    assert not Products("ours").may_be_torchs(torch.float16)
    assert not Products(invariant=True).may_be_torchs(torch.float16)
    assert not Products(fp16_sums=True).may_be_torchs(torch.float16)
    assert Products(fp16_sums=True).may_be_torchs(torch.bfloat16)
    with pytest.raises(ValueError, match=r"backend is 'cublas', expected one of \('auto', 'ours'"):
        Products("cublas")


def test_a_thread_s_choice_is_its_own() -> None:
    """What one engine is loaded with does not reach another that computes."""
    before = products(), way_table()

    def elsewhere() -> tuple[Products, WayTable]:
        use_products(Products(invariant=True), WayTable({"a": "few"}))
        return products(), way_table()

    with ThreadPoolExecutor(1) as pool:
        chosen, table = pool.submit(elsewhere).result()
    assert (chosen.invariant, table.find("a")) == (True, "few")
    assert (products(), way_table()) == before
