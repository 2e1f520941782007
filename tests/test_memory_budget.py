"""How much memory models may take together, and how options without numbers suit a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.benchmark_shapes import shape_config
from inference.config import ModelConfig
from inference.device_memory import MemoryNeed, need_of
from inference.errors import InvalidParameter, MemoryBudgetTooSmall, ModelUnavailable
from inference.memory_budget import (
    CPU_SEATS,
    CPU_TOKENS,
    GPU_SEATS,
    GPU_STEP_TOKENS,
    GPU_TOKENS,
    budget_of,
    check_budget,
    ram_bytes,
    suited,
)
from inference.options import AUTO, EngineOptions
from tests.tiny_llama import write_tiny_llama

OPTIONS = EngineOptions(threads=1, kv_tokens=AUTO, max_batch=AUTO)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny")


def test_the_budget_is_a_share_of_the_device_or_what_was_asked_for() -> None:
    assert budget_of(OPTIONS) == int(ram_bytes() * 0.8)
    assert budget_of(OPTIONS, 80 * 10**9) == 72 * 10**9
    asked = replace(OPTIONS, memory_bytes=5)
    assert budget_of(asked) == budget_of(asked, 80 * 10**9) == 5


def test_a_container_s_limit_is_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, limit = ram_bytes(), tmp_path / "memory.max"
    monkeypatch.setattr("inference.memory_budget._CGROUP_LIMITS", (limit, tmp_path / "none"))
    for text, expected in (("max\n", machine), (f"{2**30}\n", 2**30), (f"{2**62}\n", machine)):
        limit.write_text(text)
        assert ram_bytes() >= machine if expected is machine else ram_bytes() == expected


@pytest.mark.parametrize(
    ("on_gpu", "seats", "tokens", "step"),
    [(False, CPU_SEATS, CPU_TOKENS, 512), (True, GPU_SEATS, GPU_TOKENS, GPU_STEP_TOKENS)],
)
def test_a_small_model_gets_all_that_is_of_use(
    tiny: Path, on_gpu: bool, seats: int, tokens: int, step: int
) -> None:
    options, need = suited(tiny, OPTIONS, on_gpu=on_gpu, budget=10**12)
    assert (options.max_batch, options.kv_tokens, options.step_tokens) == (seats, tokens, step)
    assert need.tokens == tokens


def test_what_was_asked_for_stays(tiny: Path) -> None:
    asked = replace(OPTIONS, kv_tokens=160, max_batch=7)
    for on_gpu in (False, True):
        options, need = suited(tiny, asked, on_gpu=on_gpu, budget=1)
        assert (options.kv_tokens, options.max_batch, need.tokens) == (160, 7, 160)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_cache_is_sized_by_the_budget(tiny: Path, on_gpu: bool) -> None:
    """Down to a short conversation; with less the model is refused, with what it would need."""
    _, full = suited(tiny, OPTIONS, on_gpu=on_gpu, budget=10**12)
    fixed = full.weights + full.buffers
    for tokens in (1024, 3000, CPU_TOKENS):
        budget = fixed + tokens * full.token
        options, need = suited(tiny, OPTIONS, on_gpu=on_gpu, budget=budget)
        assert options.kv_tokens == need.tokens == tokens // 16 * 16
        check_budget(need, budget)
    _, need = suited(tiny, OPTIONS, on_gpu=on_gpu, budget=fixed + 1000 * full.token)
    assert need.tokens == CPU_TOKENS


def test_two_models_fit_side_by_side_on_a_gpu(tiny: Path) -> None:
    _, full = suited(tiny, OPTIONS, on_gpu=True, budget=10**12)
    budget = 2 * (full.weights + full.buffers + 100_000 * full.token)
    _, need = suited(tiny, OPTIONS, on_gpu=True, budget=budget)
    assert need.tokens == 100_000
    assert 2 * need.total <= budget


@pytest.mark.parametrize("name", ["SmolLM2-135M", "Llama-3.1-8B"])
def test_the_shapes_of_real_models_fit_twice_into_80_gb(name: str) -> None:
    config = shape_config(name, 8192)
    options = replace(OPTIONS, max_batch=GPU_SEATS, step_tokens=GPU_STEP_TOKENS, kv_tokens=2**17)
    weights = {"SmolLM2-135M": 270, "Llama-3.1-8B": 16_060}[name] * 10**6
    need = need_of(config, weights, 2, options)
    assert 2 * need.total < budget_of(OPTIONS, 80 * 10**9)


def test_what_can_never_fit_is_refused_with_what_would() -> None:
    need = MemoryNeed(
        weights=4_000_000_000, buffers=1_000_000_000, token=125_000, tokens=16_000, item=2
    )
    check_budget(need, need.total)
    with pytest.raises(MemoryBudgetTooSmall) as refused:
        check_budget(need, 6_000_000_000)
    assert isinstance(refused.value, ModelUnavailable)
    assert refused.value.fields == {
        "needed": 7_000_000_000,
        "budget": 6_000_000_000,
        "weights": 4_000_000_000,
        "cache": 2_000_000_000,
        "tokens": 16_000,
        "would_fit": "TINYLLM_KV_TOKENS=8000 or TINYLLM_MEMORY_GB=7.0",
    }
    with pytest.raises(MemoryBudgetTooSmall, match=r"fits with TINYLLM_MEMORY_GB=7\.1\."):
        check_budget(replace(need, weights=4_000_000_001), 4_000_000_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_tokens": -1}, "kv_tokens = -1 .* at least 1, or 0 for auto"),
        ({"max_batch": -1}, "max_batch = -1"),
        ({"memory_bytes": -1}, "memory_bytes = -1"),
        ({"keep_alive_s": -1.0}, r"keep_alive_s = -1\.0 .* 0 for never"),
        ({"keep_alive_s": float("nan")}, "keep_alive_s = nan"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        EngineOptions(**options)  # type: ignore[arg-type]


def test_a_model_on_the_cpu_needs_no_graphs(tiny: Path) -> None:
    config = ModelConfig.load(tiny)
    options = replace(OPTIONS, kv_tokens=160, max_batch=1)
    on_gpu = need_of(config, 0, 2, options)
    assert need_of(config, 0, 2, options, on_gpu=False).buffers == on_gpu.buffers - (512 << 20)
