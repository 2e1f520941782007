"""Weights reach the GPU whole, in its precision, through buffers that are used again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
import torch

from kernels.cuda import upload as module
from kernels.cuda.upload import Stage, upload

STAGE_BYTES = 64

# Copies that a GPU would still be busy with.
under_way: list[Callable[[], Any]] = []


class OnGpu(torch.Tensor):
    """A destination that is copied to later, as late as it may be."""

    def copy_(self, source: torch.Tensor, non_blocking: bool = False) -> OnGpu:
        assert non_blocking
        under_way.append(lambda: torch.Tensor.copy_(self, source))
        return self


class Event:
    """Makes the copies that were begun before it when somebody waits for it."""

    def __init__(self) -> None:
        self._before = 0

    def record(self) -> None:
        self._before = len(under_way)

    def synchronize(self) -> None:
        for index in range(self._before):
            under_way[index]()
            under_way[index] = lambda: None


@pytest.fixture
def _stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stages = [Stage(torch.empty(STAGE_BYTES, dtype=torch.uint8), Event()) for _ in range(2)]
    turns = cycle(stages)
    monkeypatch.setattr(module, "STAGE_BYTES", STAGE_BYTES)
    monkeypatch.setattr(module, "_stages", lambda: turns)
    yield
    under_way.clear()


def finish() -> None:
    while under_way:
        under_way.pop(0)()


@pytest.mark.usefixtures("_stages")
@pytest.mark.parametrize("shape", [(1,), (16,), (5, 7), (3, 11, 13), (0, 4)])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_every_number_arrives(
    shape: tuple[int, ...], stored: torch.dtype, wanted: torch.dtype
) -> None:
    sources = [torch.randn(shape).to(stored) for _ in range(3)]
    targets = [torch.full(shape, torch.nan, dtype=wanted).as_subclass(OnGpu) for _ in sources]
    for source, target in zip(sources, targets, strict=True):
        upload(source, target)
    finish()
    for source, target in zip(sources, targets, strict=True):
        assert torch.equal(torch.Tensor(target.float()), source.to(wanted).float())


@pytest.mark.usefixtures("_stages")
def test_rows_of_a_longer_matrix_are_a_destination() -> None:
    whole = torch.zeros(9, 8).as_subclass(OnGpu)
    q, k = torch.randn(6, 8), torch.randn(3, 8)
    upload(q, whole[:6])
    upload(k, whole[6:])
    finish()
    assert torch.equal(torch.Tensor(whole), torch.cat([q, k]))


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), r"\[2, 3\] on cpu cannot become \[3, 2\] on cpu"),
        (torch.zeros(2, device="meta"), torch.zeros(2), "on meta cannot become"),
        (torch.zeros(4, 4).t(), torch.zeros(4, 4), "must be contiguous"),
        (torch.zeros(4, 2), torch.zeros(4, 4)[:, :2], "must be contiguous"),
    ],
)
def test_what_cannot_be_copied_is_refused(
    source: torch.Tensor, target: torch.Tensor, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        upload(source, target)
