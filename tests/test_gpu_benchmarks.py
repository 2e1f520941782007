"""Rates of an engine, from a tiny model on the CPU, and the limits that they stand beside."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.batch import ForwardBatch
from inference.benchmark_shapes import SHAPES, attention_operations, shape_config, weight_bytes
from inference.config import ModelConfig
from inference.errors import ModelInvalid
from inference.gpu_modes import perplexity
from inference.gpu_peers import transformers_rates
from inference.gpu_rates import (
    Plan,
    batch_rates,
    decode_limit,
    decode_rates,
    first_tokens,
    request_rate,
)
from inference.gpu_timing import Limits
from tests.tiny_engine import TinyEngine
from tests.tiny_llama import write_tiny_llama

LIMITS = Limits(read=3e12, matrix=750e12)


def tiny_config() -> ModelConfig:
    return replace(
        shape_config(SHAPES[0], 64),
        vocab_size=512,
        hidden_size=64,
        intermediate_size=96,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
    )


def test_shapes_have_the_bytes_that_are_known_of_them() -> None:
    known = {"SmolLM2-135M": 0.269e9, "Llama-3.2-1B": 2.471e9, "Llama-3.1-8B": 15.01e9}
    for name, size in known.items():
        assert weight_bytes(shape_config(name, 100)) == pytest.approx(size, rel=1e-3)
    with pytest.raises(ModelInvalid, match="SmolLM2-135M"):
        shape_config("GPT-5", 100)
    # two products with 32 numbers for each pair of tokens and head, of which there are 1 + 2 + 3
    config = replace(tiny_config(), layers=1, heads=1, head_dim=32)
    assert attention_operations(config, 3) == 2 * 2 * 32 * 6


def test_a_decode_is_bound_by_bytes_and_many_together_by_arithmetic() -> None:
    config = shape_config("Llama-3.1-8B", 100)
    bound = weight_bytes(config) / 3e12
    assert decode_limit(config, 1, 0, LIMITS) == pytest.approx(1 / bound)
    assert decode_limit(config, 1000, 0, LIMITS) == pytest.approx(750e12 / weight_bytes(config))
    assert decode_limit(config, 1, 8192, LIMITS) < decode_limit(config, 1, 0, LIMITS)


def test_the_plan_fits_the_engine_that_it_asks_for() -> None:
    plan = Plan()
    assert plan.options.kv_tokens >= 256 * (plan.batch_prompt + plan.batch_long)
    assert plan.options.kv_tokens >= max(plan.depths) + plan.long
    assert plan.options.max_batch == 256


@pytest.fixture(scope="module")
def short_plan() -> Plan:
    return Plan(
        depths=(8, 20),
        short=2,
        long=6,
        runs=2,
        batches=(2, 3),
        batch_prompt=5,
        batch_short=2,
        batch_long=4,
        batch_runs=2,
        requests=3,
        first=(20,),
        marks=(7, 15),
    )


def test_engine_rates(tmp_path: Path, short_plan: Plan) -> None:
    write_tiny_llama(tmp_path)
    tiny = TinyEngine(tmp_path)
    config = tiny.runner.config
    rates = decode_rates(tiny.engine, config, short_plan, LIMITS)
    assert [(rate["readers"], rate["tokens"]) for rate in rates] == [(1, 8), (1, 20)]
    rates += batch_rates(tiny.engine, config, short_plan, LIMITS)
    assert [rate["readers"] for rate in rates[2:]] == [2, 3]
    for rate in rates:
        assert rate["slowest"] <= rate["value"] <= rate["fastest"]
        assert rate["share"] == rate["value"] / rate["limit"]
    many = request_rate(tiny.engine, short_plan)
    assert many["tokens_per_s"] == pytest.approx(3 * 5 / many["seconds"])
    (first,) = first_tokens(tiny.engine, config, short_plan, LIMITS)
    assert first["tokens"] == 20
    assert 0 < first["limit_ms"] < first["fastest"] <= first["ms"] <= first["slowest"]


def test_a_request_that_fails_is_no_measurement(tmp_path: Path, short_plan: Plan) -> None:
    write_tiny_llama(tmp_path)
    tiny = TinyEngine(tmp_path)
    tiny.runner.fails = [ValueError("no such kernel")]
    with pytest.raises(Exception, match="no such kernel"):
        first_tokens(tiny.engine, tiny.runner.config, short_plan, LIMITS)


def test_transformers_is_measured_alike(short_plan: Plan) -> None:
    rates = transformers_rates(tiny_config(), short_plan, "cpu", torch.float32)
    assert rates["answers"] == [2, 6]
    assert rates["slowest"] <= rates["value"] <= rates["fastest"]
    assert rates["first_token"]["ms"] > 0


def test_a_slow_peer_answers_shorter(short_plan: Plan) -> None:
    hurried = replace(short_plan, peer_seconds=0.0)
    assert transformers_rates(tiny_config(), hurried, "cpu", torch.float32)["answers"] == [2, 4]


class NextIsDoubled:
    """In place of a runner: it is half sure that the next token is twice the last."""

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        logits = torch.zeros(batch.token_ids.numel(), 3)
        logits[torch.arange(len(logits)), batch.token_ids * 2 % 3] = math.log(2)
        return logits


def test_perplexity_is_what_the_next_tokens_cost() -> None:
    doubled = torch.tensor([1, 2] * 1500)  # three windows
    assert perplexity(NextIsDoubled(), doubled) == pytest.approx(2)
    assert perplexity(NextIsDoubled(), torch.zeros(9).long()) == pytest.approx(2)
    assert perplexity(NextIsDoubled(), torch.tensor([1, 1, 2])) == pytest.approx(8**0.5)
