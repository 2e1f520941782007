"""How much of a GPU's memory a model takes, and what is said where there is too little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.benchmark_shapes import shape_config
from inference.config import ModelConfig
from inference.device_memory import MemoryNeed, check_memory, memory_need, need_of
from inference.device_support import check_support
from inference.errors import DeviceMemoryTooSmall, ModelInvalid, ModelUnavailable
from inference.options import EngineOptions
from inference.weights import Weights
from tests.tiny_llama import write_tiny_llama

OPTIONS = EngineOptions(threads=1)
# 8 GB of weights, 2 GB of cache, 1 GB of the rest.
NEED = MemoryNeed(
    weights=8_000_000_000, buffers=1_000_000_000, token=125_000, tokens=16_000, item=2
)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_weights_are_reckoned_from_their_headers(
    tmp_path: Path, tied: bool, sharded: bool, dtype: str
) -> None:
    write_tiny_llama(tmp_path, dtype="float16", tied=tied, sharded=sharded)
    wanted = None if dtype == "auto" else getattr(torch, dtype)
    weights = Weights(tmp_path, wanted)
    tensors = [weights._tensors[name] for name in weights._tensors]
    need = memory_need(tmp_path, replace(OPTIONS, dtype=dtype))
    assert need.item == (4 if dtype == "float32" else 2)
    assert need.weights == sum(tensor.numel() for tensor in tensors) * need.item


def test_the_cache_is_that_of_the_runner(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path)
    need = memory_need(tmp_path, replace(OPTIONS, kv_tokens=1000, dtype="float16"))
    assert need.token == 2 * 2 * 2 * 16 * 2  # keys and values, layers, heads, head size, bytes
    assert need.tokens == 1008
    assert need.cache == 1008 * need.token


def test_more_at_once_takes_more(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path)
    config = ModelConfig.load(tmp_path)
    few = need_of(config, 0, 2, OPTIONS)
    assert need_of(config, 0, 2, replace(OPTIONS, step_tokens=8192)).buffers > few.buffers
    assert need_of(config, 0, 2, replace(OPTIONS, max_batch=256)).buffers > few.buffers
    assert need_of(config, 0, 4, OPTIONS).cache == 2 * few.cache


def test_a_model_that_is_not_whole_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"config\.json is missing"):
        memory_need(tmp_path, OPTIONS)
    write_tiny_llama(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelInvalid, match="too short"):
        memory_need(tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("different", "free", "would_fit"),
    [
        ({}, 10_200_000_000, "TINYLLM_KV_TOKENS=9600"),
        ({}, 9_128_000_000, "TINYLLM_KV_TOKENS=1024"),
        ({}, 9_127_000_000, ""),
        ({}, 5_000_000_000, ""),
        ({"item": 4}, 10_200_000_000, "TINYLLM_KV_TOKENS=9600"),
        ({"item": 4}, 7_000_000_000, "TINYLLM_DTYPE=bfloat16"),
        ({"item": 4}, 5_500_000_000, "TINYLLM_DTYPE=bfloat16 TINYLLM_KV_TOKENS=8000"),
        ({"item": 4}, 4_000_000_000, ""),
        ({"tokens": 512}, 9_000_000_000, ""),
    ],
)
def test_too_little_memory_is_refused_with_what_would_fit(
    different: dict[str, Any], free: int, would_fit: str
) -> None:
    need = replace(NEED, **different)
    with pytest.raises(DeviceMemoryTooSmall) as caught:
        check_memory(need, free, 80_000_000_000)
    assert caught.value.fields["would_fit"] == would_fit
    assert (would_fit or "Use a smaller model") in caught.value.message
    for number in (need.total, need.weights):
        assert f"{number / 1e9:.1f} GB" in caught.value.message
    assert f"{free / 1e9:.1f} of its 80.0 GB are free" in caught.value.message


def test_enough_memory_is_enough() -> None:
    check_memory(NEED, NEED.total, NEED.total)


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"head_dim": 20}, "head size is 20.*multiple of 16 up to 256"),
    ({"head_dim": 272}, "head size is 272"),
    ({"hidden": 60}, "hidden size is 60.*multiple of 8"),
    ({"intermediate": 100}, "intermediate size is 100"),
    ({"heads": 66, "kv_heads": 1}, "key/value head is 66.*at most 32"),
    ({"vocab": 2**18 + 1}, "vocabulary is 262145.*at most 262144"),
]


@pytest.mark.parametrize(("shape", "message"), UNSUPPORTED)
def test_a_size_that_no_kernel_takes_is_named(shape: dict[str, Any], message: str) -> None:
    known = {"head_dim": "head_dim", "hidden": "hidden_size", "vocab": "vocab_size"}
    names = known | {"intermediate": "intermediate_size", "heads": "heads", "kv_heads": "kv_heads"}
    config = shape_config("SmolLM2-135M", 64)
    check_support(config, Path("good"))
    other = replace(config, **{names[name]: size for name, size in shape.items()})
    with pytest.raises(ModelUnavailable, match=rf"bad: its .*{message}.*TINYLLM_DEVICE=cpu"):
        check_support(other, Path("models/bad"))
