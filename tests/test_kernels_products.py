"""x · wᵀ and what is fused with it, the lone norm and gate, against float64 and beside torch."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch.nn import functional

from kernels import Matrices, Norm, embedding, matmul_transb, product_rows, rms_norm, silu_mul
from kernels.cpu import matmul_transb as cpu
from kernels.matmul_transb import reference as product_reference
from kernels.rms_norm import reference as norm_reference
from kernels.silu_mul import reference as gate_reference
from tests.kernel_cases import DTYPES, HALVES, judge, poisoned, random

__all__ = ["poisoned"]

pytestmark = pytest.mark.usefixtures("poisoned")

# Outputs of each matrix and their inputs; most are no multiple of what a kernel takes at once.
SHAPES = [((1,), 8), ((3, 5), 17), ((33,), 70), ((64, 31, 30), 48), ((67, 35), 577), ((128,), 256)]
EVEN = [shape for shape in SHAPES if sum(shape[0]) % 2 == 0]
ROWS = (1, 2, 3, 4, 5, 8, 33)


@pytest.fixture(params=["by_kernel", "by_torch"], autouse=True)
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several rows go to our kernel, or to torch."""
    rows = {"by_kernel": max(ROWS), "by_torch": 1}[request.param]
    monkeypatch.setattr(product_rows, "_limit", rows)


def case(outputs: tuple[int, ...], inputs: int, dtype: torch.dtype) -> tuple[Matrices, Norm]:
    tensors = [random(n, inputs, dtype=dtype, seed=i) for i, n in enumerate(outputs)]
    return Matrices(tensors), Norm(random(inputs, dtype=dtype), 1e-5)


def reference(x: torch.Tensor, w: Matrices, *, gated: bool = False, **around: Any) -> torch.Tensor:
    """What a fused product must be, in x's precision: one reference after the other."""
    norm, residual = around.get("norm"), around.get("residual")
    x = x if norm is None else norm_reference(x, norm)
    out = product_reference(x, w, None if residual is None else residual.to(x.dtype))
    return gate_reference(out) if gated else out


def summed(x: torch.Tensor, w: Matrices, *, gated: bool = False, **around: Any) -> torch.Tensor:
    """The sum of what was added up, without signs: what errors of a product are relative to."""
    x, norm, residual = x.double(), around.get("norm"), around.get("residual")
    x = x if norm is None else norm_reference(x, norm)
    total = x.abs() @ torch.cat(w.tensors).double().abs().t()
    if residual is not None:
        total += residual.abs()
    if not gated:
        return total
    gate, up = product_reference(x, w).chunk(2, dim=-1)
    gate_total, up_total = total.chunk(2, dim=-1)
    return gate_total * up.abs() + functional.silu(gate).abs() * up_total


def check(x: torch.Tensor, w: Matrices, **around: Any) -> None:
    exact = reference(x.double(), w, **around)
    ours = matmul_transb(x, w, **around)
    judge(ours, reference(x, w, **around), exact, summed(x, w, **around))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(dtype: torch.dtype, shape: tuple[tuple[int, ...], int], rows: int) -> None:
    w, norm = case(*shape, dtype)
    x, residual = random(rows, w.inputs), random(rows, w.outputs)
    check(x, w)
    check(x, w, norm=norm)
    check(x, w, residual=residual)
    check(x, w, norm=norm, residual=residual)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("shape", EVEN, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gated_products(dtype: torch.dtype, shape: tuple[tuple[int, ...], int], rows: int) -> None:
    w, norm = case(*shape, dtype)
    x = random(rows, w.inputs)
    check(x, w, gated=True)
    check(x, w, norm=norm, gated=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_in_and_out_of_inference_mode(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine computes in inference mode, the measurement that chooses a way does not."""
    monkeypatch.setattr(sys.modules["kernels.matmul_transb"], "_scratch", torch.empty(0))
    w, norm = case((6, 4), 16, dtype)
    with torch.inference_mode():
        check(random(5, 16), w, norm=norm)
    check(random(5, 16), w, norm=norm)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_rows_give_no_rows(dtype: torch.dtype) -> None:
    w, norm = case((6, 4), 16, dtype)
    assert matmul_transb(torch.empty(0, 16), w, norm=norm).shape == (0, 10)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_stay_as_they_are_and_results_repeat(dtype: torch.dtype) -> None:
    w, norm = case((67, 35), 577, dtype)
    for rows in (1, 5):
        x, residual = random(rows, 577), random(rows, 102)
        before = x.clone(), residual.clone()
        first = matmul_transb(x, w, norm=norm, residual=residual)
        assert torch.equal(first, matmul_transb(x, w, norm=norm, residual=residual))
        assert torch.equal(x, before[0])
        assert torch.equal(residual, before[1])


def test_a_row_does_not_depend_on_its_neighbours(limit: None) -> None:
    """NaN or infinity in one row, in a group of four that share a pass over the weights."""
    for dtype in HALVES:
        w, norm = case((67, 35), 577, dtype)
        x = random(5, 577)
        x[1], x[3] = float("nan"), float("inf")
        out = matmul_transb(x, w, norm=norm)
        for row in (0, 2, 4):
            alone = matmul_transb(x[[row] * 5], w, norm=norm)
            assert torch.equal(out[row], alone[row])
        assert not out[1].isfinite().any()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_kernels_write_every_output_and_no_other(dtype: torch.dtype) -> None:
    w, _ = case((33, 5), 17, dtype)
    x, no_row, no_rows = random(4, 17).numpy(), torch.empty(0).numpy(), torch.empty(0, 0).numpy()
    out = torch.full((5, 38), float("nan"))
    cpu.matmul(x, w.arrays, no_rows, out[:4].numpy())
    assert out[:4].isfinite().all()
    assert out[4].isnan().all()
    out = torch.full((39,), float("nan"))
    cpu.matvec(x[0], no_row, 0.0, w.arrays, no_row, False, out[:38].numpy())
    assert out[:38].isfinite().all()
    assert out[38].isnan()


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((2, 16), {}, r"matmul_transb: x has shape \(2, 16\), expected \[M, 17\]"),
        ((17,), {}, r"matmul_transb: x has shape \(17,\), expected \[M, 17\]"),
        ((2, 17), {"residual": (2, 7)}, r"residual has shape \(2, 7\), expected \(2, 8\)"),
        ((2, 17), {"residual": (1, 8)}, r"residual has shape \(1, 8\), expected \(2, 8\)"),
        ((2, 17), {"norm": (16,)}, "matmul_transb: norm has K = 16, expected K = 17"),
        ((1, 17), {"norm": (16,)}, "matmul_transb: norm has K = 16, expected K = 17"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    shape: tuple[int, ...], size: dict[str, tuple[int, ...]], message: str
) -> None:
    w, _ = case((3, 5), 17, torch.float16)
    around: dict[str, Any] = {name: torch.ones(value) for name, value in size.items()}
    if "norm" in around:
        around["norm"] = Norm(around["norm"], 1e-5)
    with pytest.raises(ValueError, match=message):
        matmul_transb(torch.ones(shape), w, **around)


def test_matrices_must_share_inputs_and_precision() -> None:
    with pytest.raises(ValueError, match=r"matrices: other has K = 16 .* expected K = 17"):
        Matrices([torch.ones(3, 17), torch.ones(5, 16)])
    with pytest.raises(ValueError, match=r"float16.*bfloat16"):
        Matrices([torch.ones(3, 17).half(), torch.ones(5, 17).bfloat16()])


# The ops that also stand alone


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 7, 64, 577])
def test_rms_norm(size: int, dtype: torch.dtype) -> None:
    for magnitude in (1e-6, 1.0, 1e15):
        x, norm = magnitude * random(5, size), Norm(random(size, dtype=dtype), 1e-5)
        x[2] = 0
        exact = norm_reference(x.double(), norm)
        judge(rms_norm(x, norm), norm_reference(x, norm), exact, exact.abs())


def test_the_norm_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"rms_norm: weight has H = 5 .* expected H = 4"):
        rms_norm(torch.ones(2, 4), Norm(torch.ones(5), 1e-5))


TINY = 1e-30  # errors of still smaller results count relative to this


def gates() -> torch.Tensor:
    """Every size that a gate can have, beside numbers for it to open and close on."""
    sizes = torch.cat([torch.logspace(-10, 30, 60), torch.linspace(0.1, 110, 60)])
    gate = torch.cat([sizes, -sizes, torch.zeros(1)])
    return torch.cat([gate, random(gate.numel())])


def test_silu_mul() -> None:
    x = gates()[None]
    exact = gate_reference(x.double())
    judge(silu_mul(x), gate_reference(x), exact, exact.abs().clamp_min(TINY))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_fused_gate_is_as_good_as_torchs(dtype: torch.dtype) -> None:
    """A product with the identity leaves the gate alone."""
    x = gates()[None]
    w = Matrices([torch.eye(x.shape[1]).to(dtype)])
    exact = gate_reference(x.double())
    ours = matmul_transb(x, w, gated=True)
    judge(ours, gate_reference(x), exact, exact.abs().clamp_min(TINY))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_embedding(dtype: torch.dtype) -> None:
    table, ids = random(20, 7, dtype=dtype), torch.tensor([3, 3, 19, 0])
    rows = embedding(table, ids)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, torch.stack([table[i].float() for i in ids]))
