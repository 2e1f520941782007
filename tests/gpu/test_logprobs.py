"""Log probabilities on a GPU beside the same on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.engine import Engine
from inference.examination import Embedding, Scoring
from inference.logprobs import TokenLogprobs
from inference.types import Delta, SamplingParams
from tests.gpu.test_engine import GREEDY, SHAPES, Make, make, request
from tests.gpu.test_examinations import PROMPT, asked

__all__ = ["make"]
pytestmark = pytest.mark.gpu

PENALIZED = SamplingParams(
    temperature=0, repetition_penalty=1.5, logit_bias={70: 8.0}, max_tokens=10, ignore_eos=True
)


def told(engine: Engine, sampling: SamplingParams, company: int) -> list[TokenLogprobs]:
    """Of one that asks, beside some that do not."""
    asking = replace(request(PROMPT, sampling), logprobs=5)
    for one in [request(PROMPT[place:]) for place in range(company)]:
        engine.add(one)
    engine.add(asking)
    found: list[TokenLogprobs] = []
    while not engine.is_idle:
        for name, event in engine.step():
            if name == asking.request_id and isinstance(event, Delta):
                found += event.logprobs
    return found


def assert_alike(one: list[TokenLogprobs], other: list[TokenLogprobs]) -> None:
    assert [each.id for each in one] == [each.id for each in other]
    for ours, theirs in zip(one, other, strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-3)
        assert [value for _, value in ours.top] == pytest.approx(
            [value for _, value in theirs.top], abs=1e-3
        )


@pytest.mark.parametrize("company", [0, 3])
@pytest.mark.parametrize("sampling", [GREEDY, PENALIZED], ids=["greedy", "penalized"])
def test_an_answers_are_the_cpus(make: Make, sampling: SamplingParams, company: int) -> None:
    """Alone, where one kernel may compute the whole token, and in company."""
    gpu, cpu = make("cuda"), make("cpu")
    assert_alike(told(gpu, sampling, company), told(cpu, sampling, company))


@pytest.mark.parametrize("shape", SHAPES)
def test_prompts_and_vectors_are_the_cpus(make: Make, shape: str) -> None:
    engines = make("cuda", shape), make("cpu", shape)
    text = tuple(range(20, 220))
    gpu, cpu = (asked(engine, Scoring(text, 3)) for engine in engines)
    assert_alike(list(gpu.tokens), list(cpu.tokens))
    gpu, cpu = (asked(engine, Embedding((text, (5, 6)))) for engine in engines)
    for one, other in zip(gpu.vectors, cpu.vectors, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
