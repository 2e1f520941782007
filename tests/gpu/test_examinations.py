"""Questions about a model's numbers on a GPU beside the same on the CPU."""

from __future__ import annotations

from typing import Any

import pytest

from inference.examination import Inspected, Inspection, Question, Trace, TraceRequest
from inference.types import SamplingParams
from tests.gpu.test_engine import SHAPES, Make, make, request, run

__all__ = ["make"]
pytestmark = pytest.mark.gpu

PROMPT = list(range(20, 60))
SAMPLING = SamplingParams(temperature=0.8, top_k=20, top_p=0.95, seed=3)


def asked(engine: Any, question: Question) -> Any:
    engine.examinations.add(1, question)
    answers: list[Any] = []
    while engine.examinations:
        engine.step()
        answers += engine.examinations.proceed()
    ((_, answer),) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.mark.parametrize("shape", SHAPES)
def test_odds_and_traces_are_the_cpu_s(make: Make, shape: str) -> None:
    answer = [100, 101, 102, 103]
    inspection = Inspection((*PROMPT, *answer), len(PROMPT), len(PROMPT), SAMPLING)
    trace = TraceRequest(tuple(PROMPT), 1, 1, SAMPLING)
    engines = [make(device, shape) for device in ("cuda", "cpu")]
    gpu, cpu = (asked(engine, inspection) for engine in engines)
    assert isinstance(gpu, Inspected)
    for one, other in zip(gpu.tokens, cpu.tokens, strict=True):
        assert one.token.raw == pytest.approx(other.token.raw, rel=1e-3)
        assert one.entropy == pytest.approx(other.entropy, rel=1e-3)
    gpu, cpu = (asked(engine, trace) for engine in engines)
    assert isinstance(gpu, Trace)
    assert gpu.embedding == pytest.approx(cpu.embedding, rel=1e-3, abs=1e-4)
    assert gpu.residual == pytest.approx(cpu.residual, rel=1e-3)
    for row, expected in zip(gpu.layer.attention, cpu.layer.attention, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)
    assert [logit for _, logit in gpu.logits] == pytest.approx(
        [logit for _, logit in cpu.logits], rel=1e-3, abs=1e-3
    )
    assert gpu.token == cpu.token


def test_answers_are_the_same_with_a_question_between_their_steps(make: Make) -> None:
    alone = run(make("cuda"), [request(PROMPT)])
    engine = make("cuda")
    question = Inspection(tuple(range(200, 300)), 90, 50, SAMPLING)
    engine.examinations.add(1, question)
    answers: list[Any] = []
    one = request(PROMPT)
    engine.add(one)
    tokens: list[int] = []
    while not engine.is_idle:
        for _name, event in engine.step():
            tokens += getattr(event, "token_ids", ())
        answers += engine.examinations.proceed()
    assert [tokens] == alone
    assert len(answers[0][1].tokens) == 10
    engine.cache.check_integrity()
    assert engine.cache.free_blocks == engine.cache.total_blocks
