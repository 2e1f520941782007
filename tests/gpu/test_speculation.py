"""Guesses from the text so far on a GPU: in deterministic mode the tokens of ordinary decoding, by
default those of the CPU in fp32, and the logits of a draft those of decodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import kernels
from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine
from inference.kv_cache import KVCache
from inference.loading import products_of
from inference.options import EngineOptions
from inference.prompt_batch import laid_out
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import Began, Delta, Finished, GenerateRequest, SamplingParams
from inference.weights import Weights
from tests.company import NoText
from tests.gpu.test_engine import request
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.gpu

OPTIONS = EngineOptions(kv_tokens=4096, max_batch=8, step_tokens=128)
PROMPT = [20, 21, 22, 23, 24] * 4
# Of three tokens only, so that much comes again.
FEW = SamplingParams(
    temperature=2.0, seed=5, max_tokens=120, ignore_eos=True, logit_bias={20: 100, 21: 100, 22: 100}
)
KINDS = [
    replace(FEW, temperature=0),
    FEW,
    replace(FEW, top_k=2, seed=6),
    replace(FEW, top_p=0.7, min_p=0.1),
    replace(FEW, repetition_penalty=1.02, seed=7),
    replace(FEW, presence_penalty=0.5, frequency_penalty=0.15),
]


@pytest.fixture(autouse=True)
def defaults_afterwards() -> Iterator[None]:
    yield
    kernels.use_products(kernels.Products(), kernels.WayTable())


def make(folder: Path, dtype: str = "float32", **more: Any) -> CudaRunner:
    options = replace(OPTIONS, **more)
    kernels.use_products(products_of(options), kernels.WayTable())
    if not folder.exists():
        write_tiny_llama(folder, dtype=dtype)
    runner = CudaRunner(ModelConfig.load(folder), Weights(folder), options)
    runner.warm_up()
    return runner


def answers(
    runner: CudaRunner, requests: list[GenerateRequest], *, apart: int = 0
) -> tuple[list[list[int]], int, int]:
    """The tokens of each, and how many of all were guessed and accepted."""
    engine = Engine(runner, NoText(), OPTIONS)  # type: ignore[arg-type]
    tokens: dict[str, list[int]] = {r.request_id: [] for r in requests}
    ends: list[Finished] = []
    waiting = list(requests)
    while waiting or not engine.is_idle:
        if waiting:
            engine.add(waiting.pop(0))
        for _ in range(apart if waiting else 1):
            for name, event in engine.step():
                assert isinstance(event, Began | Delta | Finished), event
                if isinstance(event, Delta):
                    tokens[name] += event.token_ids
                elif isinstance(event, Finished):
                    ends.append(event)
    engine.cache.check_integrity()
    assert engine.cache.free_blocks == engine.cache.total_blocks
    drafted, accepted = (
        sum(getattr(e, f"{n}_tokens") for e in ends) for n in ("drafted", "accepted")
    )
    return list(tokens.values()), drafted, accepted


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_in_deterministic_mode_tokens_are_those_of_one_a_step(tmp_path: Path, dtype: str) -> None:
    runner = make(tmp_path / "tiny", dtype, deterministic=True)
    expected = [answers(runner, [request(PROMPT, kind)])[0][0] for kind in KINDS]
    guessing = [replace(kind, prompt_lookup=16) for kind in KINDS]
    drafted = accepted = 0
    for kind, tokens in zip(guessing, expected, strict=True):
        alone, *counts = answers(runner, [request(PROMPT, kind)])
        assert alone == [tokens]
        drafted, accepted = drafted + counts[0], accepted + counts[1]
    assert 0 < accepted < drafted
    for apart in (1, 5):  # some guess, some do not
        mixed = [replace(kind, prompt_lookup=8 * (i % 2)) for i, kind in enumerate(KINDS)]
        assert (
            answers(runner, [request(PROMPT, kind) for kind in mixed], apart=apart)[0] == expected
        )


def test_in_fp32_greedy_tokens_are_the_same_by_default(tmp_path: Path) -> None:
    """Where a near-tie is not decided by how many rows there are."""
    runner = make(tmp_path / "tiny")
    ordinary, *_ = answers(runner, [request(PROMPT, KINDS[0])])
    guessed, _, accepted = answers(runner, [request(PROMPT, replace(KINDS[0], prompt_lookup=16))])
    assert guessed == ordinary
    assert accepted > 0


@pytest.mark.parametrize("guesses", [1, 3, 7, 12, 16])
@pytest.mark.parametrize("context", [1, 16, 300])
def test_a_draft_has_the_logits_of_decodes(tmp_path: Path, context: int, guesses: int) -> None:
    """To the last bit in deterministic mode, whatever its graph was padded to."""
    runner: Any = make(tmp_path / "tiny", "bfloat16", deterministic=True)
    text = [20 + 7 * i % 400 for i in range(context + guesses)]
    rows = []
    with torch.inference_mode():
        for draft in (True, False):
            tokens = Sequence(request(text[:context]), 500, 0, 0)
            KVCache(runner.blocks).grow(tokens, 500)
            for cache in runner._caches:
                cache.k.fill_(torch.nan)
                cache.v.fill_(torch.nan)
            if context > 1:
                runner.run((Chunk(tokens, context - 1),))
                tokens.computed = context - 1
            if draft:
                chunk = Chunk(tokens, 1, tuple(text[context:]))
                rows.append(runner._drafts._logits(laid_out([chunk])).clone())
                continue
            decoded = []
            for token in [*text[context:], 0]:
                decoded.append(torch.from_numpy(runner.run((Chunk(tokens, 1),))).cuda())
                tokens.computed += 1
                tokens.tokens.append(token)
            rows.append(torch.cat(decoded))
    assert rows[0].equal(rows[1])
