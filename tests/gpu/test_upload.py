"""Weights reach a real GPU whole, also while it is still busy with the pieces before."""

from __future__ import annotations

import pytest
import torch

from kernels.cuda import upload as module
from kernels.cuda.upload import STAGE_BYTES, release, upload

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_every_number_arrives(stored: torch.dtype, wanted: torch.dtype) -> None:
    count = 5 * STAGE_BYTES // wanted.itemsize // 2 + 3
    sources = [torch.randn(count).to(stored), torch.randn(7, 5).to(stored)]
    targets = [torch.full(s.shape, torch.nan, dtype=wanted, device="cuda") for s in sources]
    for source, target in zip(sources, targets, strict=True):
        expected = source.to(wanted, copy=True)
        upload(source, target)
        source.fill_(0)  # it may be forgotten
        assert torch.equal(target.cpu(), expected)


def test_rows_of_a_longer_matrix_are_a_destination() -> None:
    whole = torch.zeros(9, 8, device="cuda")
    q, k = torch.randn(6, 8), torch.randn(3, 8)
    upload(q, whole[:6])
    upload(k, whole[6:])
    assert torch.equal(whole.cpu(), torch.cat([q, k]))


def test_pinned_memory_can_be_given_back() -> None:
    upload(torch.ones(3), torch.zeros(3, device="cuda"))
    release()
    assert module._stages.cache_info().currsize == 0
    target = torch.zeros(3, device="cuda")
    upload(torch.ones(3), target)
    assert target.tolist() == [1, 1, 1]
