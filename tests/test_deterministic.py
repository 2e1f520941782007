"""Deterministic on the CPU: a request's logits, to the last bit, whoever else is served and however
its prompt is cut; and that the same comparison fails where nobody asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kernels
from inference.batch import per_token
from inference.engine import Engine
from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence as Tokens
from inference.types import Finished, GenerateRequest, SamplingParams
from kernels import Matrices, Norm, matmul_transb
from tests.company import NoText, assert_alike_in_any_company
from tests.kernel_cases import DTYPES, random
from tests.tiny_engine import (
    CONTEXT,
    GREEDY,
    TinyEngine,
    engines,
    poisoned,
    tiny,
    tiny_half,
)
from tests.tiny_llama import write_tiny_llama

__all__ = ["engines", "poisoned", "tiny", "tiny_half"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

SEATS = 64
SAMPLED = SamplingParams(temperature=0.9, top_p=0.95, seed=7, max_tokens=12, ignore_eos=True)
# An odd number of tokens, in more than two blocks of the cache.
PROMPT = [5 + (3 * i * i) % 500 for i in range(45)]
CUTS = [[45], [1] * 45, [44, 1], [1, 15, 1, 16, 3, 9], [20, 25]]


@pytest.fixture
def deterministic() -> Iterator[None]:
    kernels.use_products(kernels.Products(invariant=True))
    yield
    kernels.use_products(kernels.Products())


@pytest.fixture(scope="module")
def tiny_wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in bf16, with biases and with sizes that are no multiples of a vector's."""
    directory = tmp_path_factory.mktemp("tiny") / "bfloat16"
    sizes: dict[str, Any] = {"hidden": 70, "intermediate": 90, "heads": 3, "kv_heads": 1}
    return write_tiny_llama(
        directory, context=CONTEXT, dtype="bfloat16", attention_bias=True, **sizes
    )


@pytest.fixture(params=["fp32", "fp16", "bf16"])
def model(request: pytest.FixtureRequest, tiny: Path, tiny_half: Path, tiny_wide: Path) -> Path:
    return {"fp32": tiny, "fp16": tiny_half, "bf16": tiny_wide}[request.param]


def stranger(number: int) -> list[int]:
    """A prompt of 1 to 53 tokens."""
    return [3 + (number + 5 * i) % 500 for i in range(1 + (17 * number) % 53)]


def among_strangers(
    engines: Engines, model: Path, step_tokens: int, sampling: SamplingParams
) -> TinyEngine:
    """Has answered "mine", which came when most seats were taken, and before the last were."""
    engine = engines(model, max_batch=SEATS, kv_tokens=SEATS * CONTEXT, step_tokens=step_tokens)
    long = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)
    for number in range(40):
        engine.add(f"{number}", stranger(number), long)
    for _ in range(5):
        engine.step()
    engine.add("mine", PROMPT, sampling)
    for number in range(40, SEATS - 1):
        engine.add(f"{number}", stranger(number), long)
    engine.run(until=lambda: bool(engine.answers["mine"].of(Finished)))
    return engine


def outcome(engine: TinyEngine, name: str = "mine") -> tuple[list[int], list[bytes]]:
    """The tokens of an answer, and the bits of the logits that each was taken from."""
    rows = [row.tobytes() for (its, _), row in engine.runner.logits.items() if its == name]
    return engine.answers[name].token_ids, rows


def alone(engines: Engines, model: Path, sampling: SamplingParams, **options: Any) -> TinyEngine:
    engine = engines(model, **{"step_tokens": 500, **options})
    engine.add("mine", PROMPT, sampling)
    engine.run()
    return engine


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_request_is_answered_alike_in_any_company(
    engines: Engines, model: Path, sampling: SamplingParams
) -> None:
    expected = outcome(alone(engines, model, sampling))
    assert len(expected[0]) == len(expected[1]) == 12
    for step_tokens in (SEATS + 1, 90, 500):
        engine = among_strangers(engines, model, step_tokens, sampling)
        assert outcome(engine) == expected
    for step_tokens in (2, 7, 40):
        engine = alone(engines, model, sampling, max_batch=1, step_tokens=step_tokens)
        assert outcome(engine) == expected
    assert outcome(alone(engines, model, sampling, threads=2)) == expected
    kernels.set_threads(1)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests_are_answered_alike_in_random_company(
    tiny: Path, tiny_half: Path, deterministic: None, seed: int
) -> None:
    folder = {1: tiny, 2: tiny_half}[seed]

    def make(**more: Any) -> Engine:
        options = EngineOptions(device="cpu", threads=1, deterministic=True, **more)
        return Engine(ModelRunner(folder, options), NoText(), options)  # type: ignore[arg-type]

    assert_alike_in_any_company(make, seed)


def logits(directory: Path, cuts: Sequence[int]) -> list[bytes]:
    """The bits of the logits after the prompt in such pieces, and after each of a few tokens."""
    runner = ModelRunner(directory, EngineOptions(threads=1, kv_tokens=128))
    sequence = Tokens(GenerateRequest("r", "m", tuple(PROMPT)), len(PROMPT) + 5, 0, 0)
    KVCache(runner.blocks).grow(sequence, sequence.limit)
    rows = []
    for length in (*cuts, 1, 1, 1, 1):
        if sequence.pending == 0:
            sequence.tokens.append(11)
        rows += [row.tobytes() for row in runner.run((Chunk(sequence, length),))]
        sequence.computed += length
    return rows


@pytest.mark.usefixtures("deterministic", "poisoned")
def test_a_prompt_in_any_pieces_gives_the_same_logits(model: Path) -> None:
    expected = logits(model, CUTS[0])
    assert len(expected) == 5
    for cuts in CUTS[1:]:
        assert logits(model, cuts) == expected, cuts


@pytest.mark.usefixtures("poisoned")
def test_without_the_mode_pieces_and_company_are_seen_in_the_bits(
    engines: Engines, model: Path
) -> None:
    assert len({tuple(logits(model, cuts)) for cuts in CUTS}) > 1
    company = among_strangers(engines, model, SEATS + 1, GREEDY)
    assert outcome(company)[1] != outcome(alone(engines, model, GREEDY))[1]


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inputs", [8, 31, 64, 577])
def test_a_row_is_multiplied_alike_in_every_place(inputs: int, dtype: torch.dtype) -> None:
    w = Matrices([random(n, inputs, dtype=dtype, seed=n) for n in (33, 5)])
    x, residual, norm = random(9, inputs), random(9, 38), Norm(random(inputs), 1e-5)
    for around in ({}, {"norm": norm}, {"norm": norm, "gated": True}, {"residual": residual}):
        whole = matmul_transb(x, w, **around)
        for place in range(9):
            for rows in (slice(place, place + 1), slice(0, place + 1), slice(place, 9)):
                part = around | ({"residual": residual[rows]} if "residual" in around else {})
                assert torch.equal(matmul_transb(x[rows], w, **part), whole[rows])


def test_tokens_of_pieces_as_decodes() -> None:
    tables = np.array([[7, 0, 0], [4, 5, 6]], dtype=np.int32)
    spread, lengths = per_token(tables, np.array([12, 40], dtype=np.int32), [1, 3])
    assert spread.tolist() == [[7, 0, 0], *[[4, 5, 6]] * 3]
    assert lengths.tolist() == [12, 38, 39, 40]
    assert spread.dtype == lengths.dtype == np.dtype(np.int32)


def test_an_answer_says_whether_it_was_deterministic(engines: Engines) -> None:
    for mode in (False, True):
        engine = engines(deterministic=mode)
        assert engine.answer(PROMPT).began.deterministic is mode
