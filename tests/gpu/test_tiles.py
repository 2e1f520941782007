"""Each tile of csrc/matmul_transb.cu, also where products would take another; and the same sums as
those of csrc/matmul_few.cu."""

from __future__ import annotations

import pytest
import torch

from kernels.cuda import matmul_transb as cuda
from kernels.cuda import product_ways, products
from kernels.cuda.products import Epilogue
from kernels.product_choice import use_products
from tests.gpu.test_matmul_transb import KINDS, OURS, around, check, defaults, numbers, weights
from tests.kernel_cases import HALVES, poisoned

__all__ = ["defaults", "poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", products._TILES + products._TILES_IN_PARTS, ids=str)
def test_every_tile(tile: products.Tile, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than one of it, a little more than one, and more than two."""
    monkeypatch.setattr(products, "_tile", lambda *_, **__: tile)
    use_products(OURS)
    for shape in ((98, 72), (2 * tile.rows + 8, 576), (tile.rows - 8, 1048)):
        w = weights(*shape, torch.bfloat16)
        for rows in (65, tile.tokens + 1, 2 * tile.tokens + 65):
            check(rows, w, kind, lambda x, r: cuda.matmul_transb(x, w, **around(kind, r)))  # noqa: B023


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_few_and_tiles_in_parts_agree_to_the_bit(dtype: torch.dtype, kind: str) -> None:
    epilogue = Epilogue[{"plain": "STORE"}.get(kind, kind.upper())]
    for shape in ((200, 264), (96, 576), (130, 1048)):
        w = weights(*shape, dtype).weight
        for rows in (1, 9, 33, 64):
            x, start = numbers(rows, shape[1], dtype=dtype), numbers(rows, shape[0])
            sums_in = (False, True) if dtype == torch.float16 else (False,)
            for fp16_sums in sums_in:
                results = []
                for launch in (products.few, products.tiles):
                    out = product_ways.empty_result(x, w, epilogue)
                    if kind == "residual":
                        out.copy_(start)
                    extra = {"in_parts": True} if launch is products.tiles else {}
                    launch(x, w, out, epilogue, fp16_sums=fp16_sums, **extra)
                    results.append(out)
                assert torch.equal(*results)
