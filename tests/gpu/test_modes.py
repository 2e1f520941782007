"""What a person may ask of the engine on a GPU: our own products only, sums in fp16, and results
that depend on a request alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kernels
from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine
from inference.errors import ModelUnavailable
from inference.kv_cache import KVCache
from inference.loading import products_of
from inference.options import EngineOptions
from inference.prompt_batch import prompt_arrays
from inference.scheduler import Chunk
from inference.sequence import Sequence as Tokens
from inference.types import SamplingParams
from inference.weights import Weights, stored_as
from tests.company import NoText, assert_alike_in_any_company
from tests.gpu.test_engine import request, run
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.gpu

# Wide enough that a product has several parts.
SHAPE: dict[str, Any] = {
    "heads": 8,
    "kv_heads": 2,
    "head_dim": 64,
    "hidden": 512,
    "intermediate": 1024,
}
OPTIONS = EngineOptions(kv_tokens=8192, max_batch=64, step_tokens=512)
PROMPT = list(np.random.default_rng(5).integers(3, 500, 150))
# Of kernels that are not ours: cuBLAS' and cuDNN's products, and torch's attention.
LIBRARIES = ("gemm", "gemv", "nvjet", "cutlass", "cublas", "flash", "fmha", "splitk", "cudnn")


@pytest.fixture(autouse=True)
def defaults_afterwards() -> Iterator[None]:
    yield
    kernels.use_products(kernels.Products(), kernels.WayTable())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("wide"), dtype="bfloat16", **SHAPE)


def make(folder: Path, **more: Any) -> CudaRunner:
    options = replace(OPTIONS, **more)
    kernels.use_products(products_of(options), kernels.WayTable())
    weights = Weights(folder, stored_as(options.dtype))
    runner = CudaRunner(ModelConfig.load(folder), weights, options)
    runner.warm_up()
    return runner


def tokens_of(runner: CudaRunner, requests: Sequence[Any], *, apart: int = 0) -> list[list[int]]:
    options = replace(OPTIONS, step_tokens=runner._step_tokens)
    return run(Engine(runner, NoText(), options), list(requests), apart=apart)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_requests_are_answered_alike_in_random_company(folder: Path, seed: int) -> None:
    def engine(**more: Any) -> Engine:
        options = replace(OPTIONS, deterministic=True, **more)
        runner = make(folder, deterministic=True, **more)
        return Engine(runner, NoText(), options)  # type: ignore[arg-type]

    assert_alike_in_any_company(engine, seed)


def library_kernels(run: Any) -> list[str]:
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
    ) as profile:
        run()
        torch.cuda.synchronize()
    names = [event.key.lower() for event in profile.key_averages()]
    assert names
    return [name for name in names if any(word in name for word in LIBRARIES)]


def test_our_own_backend_calls_no_library(folder: Path) -> None:
    """A whole model, a prompt of several hundred tokens and answers of several readers."""
    many = [request([int(t) for t in PROMPT * 2]) for _ in range(20)]
    runner = make(folder, backend="ours")
    assert library_kernels(lambda: tokens_of(runner, many)) == []
    x = torch.randn(300, 512, device="cuda", dtype=torch.bfloat16)
    assert library_kernels(lambda: x @ x.t()), "the names of torch's own kernels are not known here"


def test_sums_in_fp16_answer_nearly_as_fp32(folder: Path) -> None:
    exact = logits_of(make(folder, dtype="float32"), [len(PROMPT)])
    errors = {}
    for compute in ("fp32", "fp16"):
        ours = logits_of(make(folder, dtype="float16", compute=compute), [len(PROMPT)])
        errors[compute] = float((ours - exact).norm() / exact.norm())
    assert 0 < errors["fp32"] < errors["fp16"] < 2e-2


def test_sums_in_fp16_need_fp16(folder: Path) -> None:
    options = replace(OPTIONS, compute="fp16")
    with pytest.raises(ModelUnavailable, match=r"fp16.*bfloat16 on cuda"):
        CudaRunner(ModelConfig.load(folder), Weights(folder), options)


def logits_of(runner: CudaRunner, pieces: list[int]) -> torch.Tensor:
    """After PROMPT, read in pieces of these lengths."""
    tokens = Tokens(request([int(t) for t in PROMPT]), len(PROMPT) + 1, 0, 0)
    KVCache(runner.blocks).grow(tokens, tokens.limit)
    assert sum(pieces) == len(PROMPT)
    with torch.inference_mode():
        for length in pieces:
            chunk = Chunk(tokens, length)
            arrays = prompt_arrays([chunk], runner.config.heads, runner._caches[0])
            logits = runner._prompts.logits(arrays)[:1].clone()
            tokens.computed += length
    return logits


def decoded_logits(runner: CudaRunner) -> torch.Tensor:
    """The same, with the last token as a decode."""
    logits_of(runner, [len(PROMPT) - 1, 1])
    rows, last = runner._rows, len(PROMPT) - 1
    tokens = Tokens(request([1]), len(PROMPT) + 1, 0, 0)
    KVCache(runner.blocks).grow(tokens, tokens.limit)
    rows.fill({0: (tokens, last, len(tokens.blocks))})
    runner._table.sampled[0] = int(PROMPT[-1])
    with torch.inference_mode():
        return runner._decodes._logits(slice(0, 1)).clone()


SPLITS = [[150], [1, 149], [149, 1], [64, 64, 22], [17] * 8 + [14], [1] * 150]


@pytest.mark.parametrize("deterministic", [True, False])
def test_how_a_prompt_is_cut(folder: Path, deterministic: bool) -> None:
    """The same bits in deterministic mode; in the other, this check notices that they are not."""
    runner = make(folder, deterministic=deterministic)
    whole = logits_of(runner, SPLITS[0])
    others = [logits_of(runner, split) for split in SPLITS[1:]] + [decoded_logits(runner)]
    assert all(torch.equal(whole, other) for other in others) == deterministic


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=0, max_tokens=100, ignore_eos=True),
        SamplingParams(temperature=1.0, top_p=0.95, seed=3, max_tokens=100, ignore_eos=True),
    ],
    ids=["greedy", "sampled"],
)
def test_strangers_change_nothing(folder: Path, sampling: SamplingParams) -> None:
    mine = [int(t) for t in PROMPT]
    runner = make(folder, deterministic=True)
    (alone,) = tokens_of(runner, [request(mine, sampling)])
    rng = np.random.default_rng(6)
    strangers = [
        request(
            rng.integers(3, 500, 1 + 7 * i).tolist(),
            replace(sampling, max_tokens=5 + 3 * i, seed=i),
        )
        for i in range(63)
    ]
    for place, apart in ((0, 0), (31, 1), (63, 0)):
        crowd = [*strangers[:place], request(mine, sampling), *strangers[place:]]
        assert tokens_of(runner, crowd, apart=apart)[place] == alone
        strangers = [replace(one, request_id=f"{one.request_id}+") for one in strangers]
    for step_tokens in (65, 128):
        other = make(folder, deterministic=True, step_tokens=step_tokens)
        assert tokens_of(other, [request(mine, sampling)]) == [alone]
