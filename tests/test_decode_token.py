"""The one-kernel decode beside the composition of ops that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import kernels
from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from kernels.decode_token import TokenDecoder
from tests.tiny_llama import write_tiny_llama

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one-kv-head": {"heads": 6, "kv_heads": 1, "hidden": 96},
    "uneven": {"heads": 3, "kv_heads": 3, "head_dim": 64, "hidden": 96, "intermediate": 90},
    "untied": {"tied": False, "vocab": 517},
    "bfloat16": {"dtype": "bfloat16"},
}
TOKENS = 40
"""More than two blocks of the cache."""
TOLERANCE = 1e-4
"""Only the order of sums differs; 6e-6 was seen. A key that falls on the other side of a rounding
of the cache's precision may make it more."""


def _logits(directory: Path, threads: int, tokens: list[int]) -> list[torch.Tensor]:
    """The logits after each token, fed one at a time."""
    runner = ModelRunner(directory, EngineOptions(threads=threads, kv_tokens=256))
    sequence = Sequence(GenerateRequest("r", "m", tuple(tokens)), len(tokens), 0, 0)
    KVCache(runner.blocks).grow(sequence, len(tokens))
    rows = []
    for count in range(1, len(tokens) + 1):
        sequence.tokens = tokens[:count]
        rows.append(torch.from_numpy(runner.run((Chunk(sequence, 1),))[0]).clone())
        sequence.computed = count
    return rows


def _counted_runs(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each run of the one kernel."""
    runs: list[None] = []
    run = TokenDecoder.run

    def counted(*args: Any) -> torch.Tensor:
        runs.append(None)
        return run(*args)

    monkeypatch.setattr(TokenDecoder, "run", counted)
    return runs


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_one_kernel_is_the_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: dict[str, Any], threads: int
) -> None:
    directory = write_tiny_llama(tmp_path / "model", **{"dtype": "float16", **shape})
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(0, 300, (TOKENS,), generator=generator).tolist()
    runs = _counted_runs(monkeypatch)
    fused = _logits(directory, threads, tokens)
    assert len(runs) == TOKENS
    monkeypatch.setattr("inference.batch.ForwardBatch.is_one_token", False)
    composed = _logits(directory, threads, tokens)
    assert len(runs) == TOKENS
    for ours, theirs in zip(fused, composed, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < TOLERANCE
    kernels.set_threads(1)


def test_a_model_with_biases_takes_the_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_tiny_llama(tmp_path / "model", dtype="float16", attention_bias=True)
    monkeypatch.setattr(TokenDecoder, "run", lambda *a: pytest.fail("biases would be left out"))
    assert len(_logits(directory, 2, [5, 6, 7])) == 3
