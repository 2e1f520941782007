"""x · wᵀ on a GPU with all that is fused with it, against float64 and beside torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels.cache_layer import CacheLayer
from kernels.cuda import matmul_transb as cuda
from kernels.cuda import products
from kernels.cuda.product_ways import Product, best_way
from kernels.cuda.products import Epilogue
from kernels.matmul_transb import Matrices, matmul_transb
from kernels.product_choice import Products, WayTable, use_products
from kernels.rms_norm import Norm
from kernels.rms_norm import reference as norm_reference
from kernels.rope_append import Rotary
from kernels.silu_mul import reference as gate_reference
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]

DEVICE = "cuda"
NAN = float("nan")
ROWS = (1, 2, 8, 9, 17, 33, 64, 65, 130)
# Rows and columns of w. Most are no multiple of what a kernel takes at once.
SHAPES = [(16, 8), (24, 72), (40, 200), (98, 576), (200, 264), (130, 1048)]
# Those of models: SmolLM2-135M's down and head, Llama-3.2-1B's down, Llama-3.1-8B's qkv and down.
MODEL_SHAPES = [(576, 1536), (49152, 576), (2048, 8192), (6144, 4096), (4096, 14336)]
# Where torch goes without tensor cores, which cut off what they add, or rounds by luck. A number
# left out or added twice shows as a thousandth.
SLACK = 2.0**-18
KINDS = ("plain", "wide", "gated", "residual")
OURS, INVARIANT = Products("ours"), Products("ours", invariant=True)
FP16_SUMS = Products("ours", fp16_sums=True)


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    use_products(Products(), WayTable())
    yield
    use_products(Products(), WayTable())


def alone(values: torch.Tensor) -> torch.Tensor:
    """On the device, with NaN behind the last number: who reads on, shows it."""
    memory = torch.full((values.numel() + 512,), NAN, dtype=values.dtype, device=DEVICE)
    memory[: values.numel()] = values.flatten().to(DEVICE)
    return memory[: values.numel()].view(values.shape)


def weights(outputs: int, inputs: int, dtype: torch.dtype) -> Matrices:
    # so small that neither a sum nor a gated one leaves fp16's range
    return Matrices([alone((0.002 * random(outputs, inputs, seed=1)).to(dtype))])


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return alone(random(*shape, dtype=dtype, seed=seed))


def finished(product: torch.Tensor, kind: str, residual: torch.Tensor) -> torch.Tensor:
    """What the op makes of plain sums."""
    if kind == "residual":
        return residual.to(product.dtype) + product
    return gate_reference(product) if kind == "gated" else product


def summed(x: torch.Tensor, w: torch.Tensor, kind: str, residual: torch.Tensor) -> torch.Tensor:
    """The sum of what was added up, without signs: what errors are relative to."""
    x, w = x.double(), w.double()
    total = x.abs() @ w.abs().t()
    if kind == "residual":
        return total + residual.abs()
    if kind != "gated":
        return total
    (gate, up), (gates, ups) = (x @ w.t()).chunk(2, dim=-1), total.chunk(2, dim=-1)
    return gates * up.abs() + torch.nn.functional.silu(gate).abs() * ups


def by_torch(x: torch.Tensor, w: torch.Tensor, kind: str, residual: torch.Tensor) -> torch.Tensor:
    """What torch makes of it: a gate in the weights' type, all else with fp32 sums."""
    if kind == "gated":
        return gate_reference(torch.mm(x, w.t()))
    is_wide = w.dtype == torch.float32
    product = torch.mm(x, w.t()) if is_wide else torch.mm(x, w.t(), out_dtype=torch.float32)
    return product.to(x.dtype) if kind == "plain" else finished(product, kind, residual)


def around(kind: str, residual: torch.Tensor) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {"wide": {"wide": True}, "gated": {"gated": True}}
    return {"residual": residual} if kind == "residual" else given.get(kind, {})


def check(rows: int, w: Matrices, kind: str, run: Callable[..., torch.Tensor]) -> None:
    """run(x, residual) -> the product, judged."""
    x = numbers(rows, w.inputs, dtype=w.weight.dtype)
    residual = numbers(rows, w.outputs, seed=2)
    before = residual.clone()
    ours = run(x, residual)
    assert (ours is residual) == (kind == "residual")
    assert ours.isfinite().all()
    exact = finished(x.double() @ w.weight.double().t(), kind, before)
    assert ours.dtype == (w.weight.dtype if kind in ("plain", "gated") else torch.float32)
    torchs, scale = by_torch(x, w.weight, kind, before), summed(x, w.weight, kind, before)
    judge(ours, torchs, exact, scale, rounding=SLACK)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(dtype: torch.dtype, shape: tuple[int, int], kind: str) -> None:
    w = weights(*shape, dtype)
    for chosen in (OURS, INVARIANT, Products()):
        use_products(chosen)
        for rows in ROWS:
            check(rows, w, kind, lambda x, r: cuda.matmul_transb(x, w, **around(kind, r)))


@pytest.mark.parametrize("shape", MODEL_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products_of_models(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    use_products(OURS)
    w = weights(*shape, dtype)
    for rows in (1, 8, 16, 64, 300):
        for kind in ("plain", "residual", "gated"):
            check(rows, w, kind, lambda x, r: cuda.matmul_transb(x, w, **around(kind, r)))  # noqa: B023


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_rows_do_not_depend_on_their_number_or_neighbours(dtype: torch.dtype) -> None:
    """Neither do those beside NaN and infinity; the norm is part of it."""
    use_products(INVARIANT)
    for shape in ((200, 264), (960, 576), (2050, 1032)):
        w, norm = weights(*shape, dtype), Norm(random(shape[1]), 1e-5, device=DEVICE)
        x = numbers(400, shape[1])
        whole = cuda.matmul_transb(x, w, norm=norm)
        spoilt = x.clone()
        spoilt[::2], spoilt[1::4] = NAN, float("inf")
        assert torch.equal(cuda.matmul_transb(spoilt, w, norm=norm)[3::4], whole[3::4])
        for rows in (1, 2, 8, 9, 16, 17, 33, 64, 65, 129, 200):
            part = x[400 - rows :].clone()
            assert torch.equal(cuda.matmul_transb(part, w, norm=norm), whole[400 - rows :]), rows


@pytest.mark.parametrize("kind", ["plain", "wide", "residual"])
def test_sums_in_fp16(kind: str) -> None:
    """As far off as 16-bit sums can be within a part, and no further."""
    use_products(FP16_SUMS)
    for shape in ((98, 576), (130, 1048), (64, 4096)):
        w = weights(*shape, torch.float16)
        additions = products.part_units(shape[1]) * 64 // 8 + 2
        for rows in (1, 40, 130):
            x, residual = numbers(rows, shape[1], dtype=torch.float16), numbers(rows, shape[0])
            before = residual.clone()
            ours = cuda.matmul_transb(x, w, **around(kind, residual))
            exact = finished(x.double() @ w.weight.double().t(), kind, before)
            scale = summed(x, w.weight, kind, before)
            errors = (ours.double() - exact).abs() / scale
            assert float(errors.max()) <= 2 * additions * 2.0**-11


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_norm_comes_first(dtype: torch.dtype) -> None:
    for chosen in (OURS, INVARIANT):
        use_products(chosen)
        for shape in ((98, 576), (40, 200), (64, 8192)):
            w, norm = weights(*shape, dtype), Norm(random(shape[1]), 1e-5, device=DEVICE)
            for rows in (1, 3, 8, 9, 70):
                x = numbers(rows, shape[1])
                act = norm_reference(x, norm).to(dtype)
                exact = norm_reference(x.double(), norm) @ w.weight.double().t()
                ours = cuda.matmul_transb(x, w, norm=norm, wide=True)
                scale = summed(act, w.weight, "wide", x)
                judge(ours, (act @ w.weight.t()).float(), exact, scale, rounding=SLACK)


def tables(size: int) -> Rotary:
    turned = torch.outer(torch.arange(500) * 1.0, 100 ** -torch.linspace(0, 1, size // 2))
    return Rotary(turned.cos().to(DEVICE), turned.sin().to(DEVICE))


def empty_cache(kv_heads: int, size: int, dtype: torch.dtype) -> CacheLayer:
    shape = (12, kv_heads, 16, size)
    return CacheLayer(*(torch.full(shape, NAN, dtype=dtype, device=DEVICE) for _ in range(2)))


def test_only_the_result_is_written() -> None:
    use_products(OURS)
    w = weights(98, 264, torch.bfloat16)
    for rows in (1, 33, 65, 130):
        memory = torch.full((rows + 2, 98), 7.0, device=DEVICE)
        x = numbers(rows, 264, dtype=torch.bfloat16)
        cuda.matmul_transb(x, w, residual=memory[1:-1])
        assert (memory[[0, -1]] == 7).all()
        assert (memory[1:-1] != 7).any(dim=1).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matrices_are_joined_on_their_way_to_the_gpu(dtype: torch.dtype) -> None:
    parts = [random(n, 64, dtype=dtype, seed=n) for n in (24, 8, 16)]
    w = Matrices(parts, device=DEVICE)
    assert (w.outputs, w.inputs, len(w.tensors)) == (48, 64, 1)
    assert torch.equal(w.weight.cpu(), torch.cat(parts))
    x = numbers(5, 64, dtype=dtype)
    assert torch.equal(matmul_transb(x, w), cuda.matmul_transb(x, w))


def test_a_graph_replays_on_new_values() -> None:
    w, norm = weights(96, 576, torch.bfloat16), Norm(random(576), 1e-5, device=DEVICE)
    down = weights(576, 48, torch.bfloat16)
    hidden = {rows: numbers(rows, 576) for rows in (3, 40, 200)}

    def step(x: torch.Tensor) -> torch.Tensor:
        return cuda.matmul_transb(cuda.matmul_transb(x, w, norm=norm, gated=True), down, residual=x)

    for start in hidden.values():
        x = start.clone()
        step(x)  # compiles
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(x)
        x.copy_(start.flip(0))
        graph.replay()
        assert torch.equal(x, step(start.flip(0)))


def test_what_is_measured_is_kept_and_taken(tmp_path: Path) -> None:
    layers = [weights(512, 512, torch.bfloat16) for _ in range(3)]
    table = WayTable()
    use_products(Products(), table)
    cuda.tune(layers, (8, 32, 128), gated=True)
    cuda.tune(layers, (128,), residual=True)
    table.save(tmp_path / "ways.json")
    kept = WayTable.load(tmp_path / "ways.json")
    keys = [Product.of(rows, layers[0].weight, Epilogue.GATED).key for rows in (32, 128)]
    for key in (*keys, Product.of(100, layers[0].weight, Epilogue.RESIDUAL).key):
        assert kept.find(key) in ("few", "tiles", "torch")
    for way in ("tiles", "torch"):
        use_products(Products(), WayTable({keys[1]: way}))
        assert best_way(Product.of(90, layers[0].weight, Epilogue.GATED)) == way
        check(90, layers[0], "gated", lambda x, r: cuda.matmul_transb(x, layers[0], gated=True))


def test_no_rows_give_no_rows() -> None:
    w, norm = weights(96, 64, torch.bfloat16), Norm(torch.ones(64), 1e-5, device=DEVICE)
    assert cuda.matmul_transb(torch.empty(0, 64, device=DEVICE), w, norm=norm).shape == (0, 96)
    none = torch.empty(0, dtype=torch.int64, device=DEVICE)
    cache, rotary = empty_cache(1, 32, torch.bfloat16), tables(32)
    q = cuda.qkv_rope_append(
        torch.empty(0, 64, device=DEVICE), w, norm, rotary.cos, rotary.sin, none, cache, none
    )
    assert q.shape == (0, 1, 32)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"x": torch.float32}, r"x is torch.float32, expected torch.bfloat16"),
    ({"residual": torch.bfloat16}, r"residual is torch.bfloat16, expected torch.float32"),
    ({"gated": True, "wide": True}, r"residual, gated and wide exclude each other"),
    ({"w": (96, 60)}, r"K = 60, expected a multiple of 8"),
    ({"w": (97, 64), "gated": True}, r"N = 97, expected a multiple of 2"),
]


@pytest.mark.parametrize(("case", "message"), BAD)
def test_what_a_kernel_would_misread_is_refused(case: dict[str, Any], message: str) -> None:
    outputs, inputs = case.get("w", (96, 64))
    w = weights(outputs, inputs, torch.bfloat16)
    x = numbers(2, inputs, dtype=case.get("x", torch.bfloat16))
    asked: dict[str, Any] = {name: case[name] for name in ("gated", "wide") if name in case}
    if "residual" in case:
        asked["residual"] = torch.zeros(2, outputs, dtype=case["residual"], device=DEVICE)
    with pytest.raises(ValueError, match=message):
        cuda.matmul_transb(x, w, **asked)
