"""The rows of kernels, as far as they go without a GPU: every case is built, and computed by the
CPU's kernels in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import kernels
from inference import benchmark_decoding as decoding
from inference.gpu_timing import Run, Times
from inference.kernel_benchmarks import (
    Case,
    Sizes,
    default_sizes,
    errors,
    kernel_rows,
    measured,
)
from tests.test_gpu_benchmarks import LIMITS, tiny_config


def tiny_sizes() -> Sizes:
    return Sizes(
        {"tiny": tiny_config()},
        decode_rows=(1, 3),
        prompt_rows=66,
        heads=((4, 2, 16), (3, 1, 32)),
        contexts=((1, 40), (3, 32)),
        prompts=(40,),
        vocabularies=(300,),
        sampled_rows=(1, 5),
        decoder_context=40,
        device="cpu",
        dtype=torch.float32,
        most_copies=2,
    )


def counting_timer(runs: Sequence[Run]) -> Times:
    """Runs each once."""
    for run in runs:
        run()
    return Times(10.0, 9.0, 11.0)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return kernel_rows(tiny_sizes(), LIMITS, counting_timer)


def test_every_kernel_has_rows_that_agree_with_float64(rows: list[dict[str, Any]]) -> None:
    names = " ".join(row["name"] for row in rows)
    for kernel in ("qkv", "gate+up", "down", "head", "(ours)", "(auto)", "rms_norm", "rope_append"):
        assert kernel in names
    for kernel in ("silu_mul", "embedding", "decode att", "prefill att", "greedy", "one kernel"):
        assert kernel in names
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        if "one kernel" not in row["name"]:
            assert row["failure"] is None, row
            assert row["error"] < 1e-6, row
            assert row["torch_error"] < 1e-6, row
            assert row["us"] == 10


def test_a_row_that_fails_says_why_and_the_others_are_there(rows: list[dict[str, Any]]) -> None:
    (failed,) = [row for row in rows if row["failure"]]
    assert failed["failure"] == "ValueError: the kernel does not run this model on this GPU"


def test_the_one_token_reference_is_the_model_written_out() -> None:
    """Against the ops of kernels/ one by one, which the CPU has."""
    sizes, config = tiny_sizes(), tiny_config()
    model = decoding._decoder(config, sizes)
    blocks = torch.randperm(model.caches[0].k.shape[0]).int()
    token = decoding._Token(torch.tensor([5]), torch.tensor([40]), blocks, 40)
    expected = decoding.decoded(model, token, torch.float64)
    hidden = kernels.embedding(model.embedding, token.token)
    slot = blocks[40 // 16].long().view(1) * 16 + 40 % 16
    batch = kernels.AttentionBatch(blocks[None], torch.tensor([41]).int(), (0, 1), 1)
    for layer, cache in zip(model.layers, model.caches, strict=True):
        where = (model.rotary, token.position, cache, slot)
        q = kernels.qkv_rope_append(hidden, layer.qkv, layer.attention_norm, *where)
        attended = kernels.attention(q, cache, batch).flatten(1)
        hidden = kernels.matmul_transb(attended, layer.attention_out, residual=hidden)
        gated = kernels.matmul_transb(hidden, layer.gate_up, norm=layer.mlp_norm, gated=True)
        hidden = kernels.matmul_transb(gated, layer.down, residual=hidden)
    logits = kernels.matmul_transb(hidden, model.head, norm=model.last_norm, wide=True)
    assert errors(logits.double(), expected)[0] < 1e-6


def test_rates_and_shares_of_rows() -> None:
    result = torch.ones(4)
    exact = torch.ones(4).double()
    case = Case([lambda: result], [lambda: result], lambda: exact, work=15_000_000)
    row = measured(("read", lambda: case), LIMITS, counting_timer)
    assert [row.rate, row.share] == pytest.approx([1500, 0.5])
    assert row.unit == "GB/s"
    assert (row.error, row.worst, row.torch_us) == (0, 0, 10)
    products = replace(case, work=3_750_000_000, is_products=True)
    row = measured(("compute", lambda: products), LIMITS, counting_timer)
    assert [row.rate, row.share] == pytest.approx([375, 0.5])
    assert row.unit == "TFLOP/s"


def test_errors_are_relative_and_nothing_that_is_not_a_number_passes() -> None:
    exact = torch.tensor([3.0, 4.0]).double()
    error, worst = errors(exact + torch.tensor([0.3, 0.4]), exact)
    assert error == pytest.approx(0.1)
    assert worst == pytest.approx(0.4 / (12.5**0.5))
    with pytest.raises(ValueError, match="not finite"):
        errors(exact * float("nan"), exact)
    with pytest.raises(ValueError, match="shape"):
        errors(exact[None], exact)


def test_copies_are_more_than_a_cache_holds() -> None:
    sizes = default_sizes()
    assert sizes.copies(1 << 30) == 1
    assert sizes.copies(64 << 20) == 8
    assert sizes.copies(1) == sizes.most_copies
