"""The product for one token on a GPU, with all that is fused with it, against float64 and beside
torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kernels.cuda import matmul_transb as cuda
from kernels.cuda import product_ways, products
from kernels.cuda.matvec import fits_vector, vector
from kernels.cuda.product_ways import Product, best_way
from kernels.cuda.products import Epilogue
from kernels.product_choice import Products, WayTable, use_products
from kernels.rms_norm import Norm
from kernels.rms_norm import reference as norm_reference
from kernels.rope_append import Rotary
from kernels.rope_append import reference as rope_reference
from tests.gpu.test_matmul_transb import (
    DEVICE,
    KINDS,
    NAN,
    SLACK,
    around,
    by_torch,
    check,
    empty_cache,
    finished,
    numbers,
    summed,
    tables,
    weights,
)
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]

# Rows and columns of w: one unit, odd numbers of rows, columns that are no multiple of what a lane,
# a warp or a segment takes; on a GPU of few multiprocessors more units than a block has threads.
SHAPES = [(2, 8), (33, 80), (98, 576), (66, 640), (576, 1536), (41, 2560), (270, 1048), (5000, 264)]
# Llama-3.2-1B's gate and up, Llama-3.1-8B's qkv and down, SmolLM2-135M's head, Qwen2.5-7B's down.
MODEL_SHAPES = [(16384, 2048), (6144, 4096), (4096, 14336), (49152, 576), (3584, 18944)]
EPILOGUES = {"plain": Epilogue.STORE, "wide": Epilogue.WIDE}
EPILOGUES |= {"gated": Epilogue.GATED, "residual": Epilogue.RESIDUAL}


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    use_products(Products(), WayTable())
    yield
    use_products(Products(), WayTable())


def even(shape: tuple[int, int], kind: str) -> tuple[int, int]:
    """A gate needs as many rows again."""
    return (shape[0] + shape[0] % 2, shape[1]) if kind == "gated" else shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products(dtype: torch.dtype, shape: tuple[int, int], kind: str) -> None:
    w = weights(*even(shape, kind), dtype)
    assert best_way(Product.of(1, w.weight, EPILOGUES[kind])) == "vector"
    check(1, w, kind, lambda x, r: cuda.matmul_transb(x, w, **around(kind, r)))


@pytest.mark.parametrize("shape", MODEL_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products_of_models(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    w = weights(*shape, dtype)
    for kind in KINDS:
        check(1, w, kind, lambda x, r: cuda.matmul_transb(x, w, **around(kind, r)))  # noqa: B023


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_norm_comes_first(dtype: torch.dtype, kind: str) -> None:
    """Also where x is fetched in several rounds."""
    for shape in ((98, 576), (34, 8), (65, 80), (66, 4096), (20, 16392)):
        w, norm = weights(*even(shape, kind), dtype), Norm(random(shape[1]), 1e-5, device=DEVICE)
        x, residual = numbers(1, shape[1]), numbers(1, w.outputs, seed=2)
        before = residual.clone()
        ours = cuda.matmul_transb(x, w, norm=norm, **around(kind, residual))
        act, wide = norm_reference(x, norm).to(dtype), norm_reference(x.double(), norm)
        exact = finished(wide @ w.weight.double().t(), kind, before)
        scale = summed(act, w.weight, kind, before)
        judge(ours, by_torch(act, w.weight, kind, before), exact, scale, rounding=SLACK)


def test_the_normed_row_is_not_rounded() -> None:
    """With fp32 out, the only error is that of fp32 sums."""
    w, norm = weights(130, 1536, torch.bfloat16), Norm(random(1536), 1e-5, device=DEVICE)
    x = numbers(1, 1536)
    exact = norm_reference(x.double(), norm) @ w.weight.double().t()
    scale = norm_reference(x.double(), norm).abs() @ w.weight.double().abs().t()
    ours = cuda.matmul_transb(x, w, norm=norm, wide=True)
    assert float(((ours - exact).abs() / scale).max()) < 2.0**-21


@pytest.mark.parametrize("place", [0, 37, 191, -1])
@pytest.mark.parametrize("heads", [(9, 3, 64), (3, 1, 16), (4, 4, 80), (8, 2, 128)], ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_qkv_rope_append(dtype: torch.dtype, heads: tuple[int, int, int], place: int) -> None:
    query_heads, kv_heads, size = heads
    w = weights((query_heads + 2 * kv_heads) * size, 584, dtype)
    norm, rotary = Norm(random(584), 1e-5, device=DEVICE), tables(size)
    exactly = Rotary(rotary.cos.double(), rotary.sin.double())
    position = torch.tensor([499 - place], device=DEVICE)
    slot = torch.tensor([place], device=DEVICE)
    x = numbers(1, 584)
    ours, torchs = (empty_cache(kv_heads, size, dtype) for _ in range(2))
    exact = empty_cache(kv_heads, size, torch.float64)
    position.clamp_(max=499)
    arguments = (rotary.cos, rotary.sin, position, ours, slot)
    q = cuda.qkv_rope_append(x, w, norm, *arguments)
    product = norm_reference(x, norm).to(dtype) @ w.weight.t()
    by_torchs = rope_reference(product, rotary, position, torchs, slot).to(dtype)
    product = norm_reference(x.double(), norm) @ w.weight.double().t()
    judge(q, by_torchs, rope_reference(product, exactly, position, exact, slot))
    for name in ("k", "v"):
        mine, theirs, right = (getattr(cache, name) for cache in (ours, torchs, exact))
        live = right.isfinite()
        assert torch.equal(mine.isfinite(), live)
        assert int(live.sum()) == (kv_heads * size if place >= 0 else 0)
        if place >= 0:
            judge(*(values[live].view(-1, size) for values in (mine, theirs, right)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_vector_and_few_make_is_alike(kind: str) -> None:
    w = weights(*even((98, 576), kind), torch.bfloat16).weight
    x, start = numbers(1, 576, dtype=torch.bfloat16), numbers(1, w.shape[0])
    results = []
    for launch in (vector, products.few):
        out = product_ways.empty_result(x, w, EPILOGUES[kind])
        if kind == "residual":
            out.copy_(start)
        launch(x, w, out, EPILOGUES[kind])
        results.append(out.double())
    error = (results[0] - results[1]).abs() / summed(x, w, kind, start)
    assert float(error.max()) < (2.0**-7 if kind in ("plain", "gated") else SLACK)


def test_only_the_result_is_written() -> None:
    for outputs in (97, 98):
        w = weights(outputs, 264, torch.bfloat16)
        memory = torch.full((3, outputs), 7.0, device=DEVICE)
        x = numbers(1, 264, dtype=torch.bfloat16)
        cuda.matmul_transb(x, w, residual=memory[1:-1])
        assert (memory[[0, -1]] == 7).all()
        assert (memory[1:-1] != 7).all()


def test_numbers_that_are_not_finite_stay_in_their_row_of_w() -> None:
    w = weights(64, 576, torch.float16)
    x = numbers(1, 576, dtype=torch.float16)
    right = cuda.matmul_transb(x, w)
    w.weight[5, 575], w.weight[40, 0] = NAN, float("inf")
    ours = cuda.matmul_transb(x, w)
    spoilt = torch.tensor([5, 40], device=DEVICE)
    assert not ours[0, spoilt].isfinite().any()
    ours[0, spoilt] = right[0, spoilt]
    assert torch.equal(ours, right)


def test_one_row_goes_another_way_only_where_it_may() -> None:
    halves = {dtype: weights(64, 64, dtype).weight for dtype in DTYPES}
    ways = {
        Products(): "vector",
        Products("ours"): "vector",
        Products("ours", invariant=True): "few",
        Products("ours", fp16_sums=True): "few",
    }
    for chosen, way in ways.items():
        use_products(chosen)
        assert best_way(Product.of(1, halves[torch.float16], Epilogue.STORE)) == way
        assert best_way(Product.of(2, halves[torch.float16], Epilogue.STORE)) == "few"
    assert best_way(Product.of(1, halves[torch.float32], Epilogue.STORE)) == "exact"
    assert not fits_vector(64, 60000)


def test_what_is_measured_is_taken() -> None:
    layers = [weights(512, 512, torch.bfloat16) for _ in range(3)]
    table = WayTable()
    use_products(Products(), table)
    key = Product.of(1, layers[0].weight, Epilogue.GATED).key
    for way in ("few", "vector"):
        use_products(Products(), WayTable({key: way}))
        assert best_way(Product.of(1, layers[0].weight, Epilogue.GATED)) == way
        check(1, layers[0], "gated", lambda x, r: cuda.matmul_transb(x, layers[0], gated=True))


def test_a_graph_replays_on_new_values() -> None:
    w, norm = weights(96, 576, torch.bfloat16), Norm(random(576), 1e-5, device=DEVICE)
    down = weights(576, 48, torch.bfloat16)

    def step(x: torch.Tensor) -> torch.Tensor:
        return cuda.matmul_transb(cuda.matmul_transb(x, w, norm=norm, gated=True), down, residual=x)

    start = numbers(1, 576)
    x = start.clone()
    step(x)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(x)
    x.copy_(start.flip(1))
    graph.replay()
    assert torch.equal(x, step(start.flip(1)))


def test_more_than_one_row_is_refused() -> None:
    w = weights(64, 64, torch.bfloat16).weight
    x = numbers(2, 64, dtype=torch.bfloat16)
    out = product_ways.empty_result(x, w, Epilogue.STORE)
    with pytest.raises(ValueError, match="matvec: 2 rows of 64 numbers"):
        vector(x, w, out, Epilogue.STORE)
