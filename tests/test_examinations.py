"""Questions about a model's numbers: the answers are those of transformers, on a thread as in a
process, and nobody who generates waits for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference import examinations
from inference.engine import Engine
from inference.engine_thread import EngineThread
from inference.errors import (
    ContextLengthExceeded,
    EngineStopped,
    InvalidParameter,
    QueueFull,
    RequestFailed,
)
from inference.examination import (
    MAX_TRACED,
    MAX_WINDOW,
    Embedding,
    Examined,
    Inspected,
    Inspection,
    Question,
    Scoring,
    Trace,
    TraceRequest,
)
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.types import GenerateRequest, SamplingParams
from tests.host_runner import MakeRunner, on_host
from tests.process_engine import running, tiny_store
from tests.reference_model import forced, reference
from tests.threaded_engine import Gate, gate, read, request, store, thread, tokens, until
from tests.tiny_engine import GREEDY, TinyEngine, engines, poisoned, tiny, tiny_half

__all__ = ["engines", "gate", "on_host", "poisoned", "store", "thread", "tiny", "tiny_half"]
pytestmark = pytest.mark.real_engine

PROMPT = [9, 8, 7, 30, 31, 32]
SAMPLING = SamplingParams(temperature=0.7, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.2)


def asked(engine: Any, question: Question) -> Examined:
    """The answer, which an engine that is driven step by step comes to."""
    engine.examinations.add(1, question)
    answers: list[Any] = []
    while not engine.is_idle:
        engine.step()
        answers += engine.examinations.proceed()
    ((ticket, answer),) = answers
    assert ticket == 1
    if isinstance(answer, Exception):
        raise answer
    return answer  # type: ignore[no-any-return]


def inspection(answer: list[int], sampling: SamplingParams = GREEDY, first: int = 0) -> Inspection:
    return Inspection((*PROMPT, *answer), len(PROMPT) + first, len(PROMPT), sampling)


def expected_odds(logits: torch.Tensor, token: int) -> tuple[float, int, float]:
    chances = torch.softmax(logits.double(), -1)
    entropy = torch.distributions.Categorical(probs=chances).entropy() / np.log(2)
    return float(chances[token]), 1 + int((logits > logits[token]).sum()), float(entropy)


def test_odds_are_those_of_transformers(tiny: Path, engines: Any) -> None:
    its: TinyEngine = engines()
    answer = [40, 41, 42, 43, 44]
    found = asked(its.engine, inspection(answer, SAMPLING))
    assert isinstance(found, Inspected)
    logits = forced(reference(tiny), PROMPT, answer)
    for odds, row, token in zip(found.tokens, logits, answer, strict=True):
        chance, rank, entropy = expected_odds(row, token)
        # fp32 on both sides, summed in another order
        assert odds.token.raw == pytest.approx(chance, rel=1e-4)
        assert (odds.token.id, odds.rank) == (token, rank)
        assert odds.entropy == pytest.approx(entropy, rel=1e-4)
        best = row.topk(10).indices.tolist()
        assert [other.id for other in odds.alternatives] == best
        assert odds.alternatives[0].sampled > 0


def test_a_greedy_answer_has_rank_one_everywhere(engines: Any) -> None:
    its: TinyEngine = engines()
    answer = its.answer(PROMPT).token_ids
    found = asked(its.engine, inspection(answer))
    assert isinstance(found, Inspected)
    assert [odds.rank for odds in found.tokens] == [1] * len(answer)
    assert [odds.token.sampled for odds in found.tokens] == [1.0] * len(answer)
    assert (
        its.runner.computed("inspection")[0] < len(PROMPT) + 1
    )  # read anew: too short for a block


def test_the_sampled_distribution_is_the_one_that_tokens_are_drawn_from(engines: Any) -> None:
    """Penalties see the answer so far; what was cut away has no chance."""
    its: TinyEngine = engines()
    answer = its.answer(PROMPT, replace(SAMPLING, seed=5, max_tokens=30, ignore_eos=True)).token_ids
    found = asked(its.engine, inspection(answer, SAMPLING))
    assert isinstance(found, Inspected)
    assert all(0 < odds.token.sampled <= 1 for odds in found.tokens)
    window = asked(its.engine, inspection(answer[:20], SAMPLING, first=17))
    assert isinstance(window, Inspected)
    for odds, again in zip(found.tokens[17:20], window.tokens, strict=True):
        assert again.token.sampled == pytest.approx(odds.token.sampled, rel=1e-3)


def test_bad_questions_are_refused(engines: Any) -> None:
    its: TinyEngine = engines()
    with pytest.raises(InvalidParameter, match="tokens = 65"):
        inspection([1] * (MAX_WINDOW + 1))
    with pytest.raises(InvalidParameter, match="first"):
        Inspection((1, 2), 2, 1, GREEDY)
    with pytest.raises(InvalidParameter, match="tokens = 65"):
        TraceRequest((1,) * (MAX_TRACED + 1), 0, 0)
    add = its.engine.examinations.add
    with pytest.raises(InvalidParameter, match="token = 100000"):
        add(1, inspection([100_000]))
    with pytest.raises(ContextLengthExceeded):
        add(1, Inspection((1,) * 200, 199, 1, GREEDY))
    with pytest.raises(InvalidParameter, match="layer = 99"):
        add(1, TraceRequest((1,), 99, 0))
    with pytest.raises(InvalidParameter, match="head = 99"):
        add(1, TraceRequest((1,), 0, 99))
    for ticket in range(examinations.QUEUE_LIMIT):
        add(ticket, inspection([1]))
    with pytest.raises(QueueFull):
        add(99, inspection([1]))
    for ticket in range(examinations.QUEUE_LIMIT):
        its.engine.examinations.drop(ticket)
    assert its.engine.is_idle


def test_a_deleted_session_is_not_looked_at_any_more(engines: Any) -> None:
    its: TinyEngine = engines()
    its.engine.examinations.add(7, replace(inspection([40, 41, 42]), session="gone"))
    assert list(its.engine.examinations.proceed()) == []
    ((ticket, error),) = its.engine.examinations.forget("gone")
    assert ticket == 7
    assert isinstance(error, RequestFailed)


def test_who_generates_goes_on_meanwhile(engines: Any) -> None:
    """Each step of the others has one piece of a question beside it, and a short one."""
    its: TinyEngine = engines(kv_tokens=2048)
    its.add("answer", [5, 6])
    its.run(until=lambda: bool(its.answers["answer"].token_ids))
    long = Inspection(tuple(range(10, 110)), 99, 1, GREEDY)
    its.engine.examinations.add(1, long)
    before = len(its.answers["answer"].token_ids)
    answers: list[object] = []
    while not answers:
        its.step()
        answers += its.engine.examinations.proceed()
    pieces = its.runner.computed("inspection")
    assert max(pieces) <= 64
    assert len(pieces) == 2
    assert len(its.answers["answer"].token_ids) == before + 2
    its.run()


async def test_a_thread_answers_while_it_generates(thread: EngineThread, gate: Gate) -> None:
    events, found = await asyncio.gather(
        read(thread, request("a")), thread.examine("tiny", inspection([40, 41]))
    )
    assert len(tokens(events)) == 30
    assert isinstance(found, Inspected)
    assert len(found.tokens) == 2
    with pytest.raises(InvalidParameter):
        await thread.examine("tiny", inspection([100_000]))


async def test_who_does_not_wait_leaves_nothing_behind(thread: EngineThread, gate: Gate) -> None:
    gate.close()
    waiting = asyncio.create_task(thread.examine("tiny", inspection([40, 41])))
    await until(lambda: gate.steps_of("inspection") == 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.open = True
    gate.allow(1)
    await until(lambda: all(engine.is_idle for engine in thread.engines()))
    assert gate.steps_of("inspection") == 1


async def test_an_engine_that_stops_says_so_to_who_waits(store: ModelStore, gate: Gate) -> None:
    """Also to one whose question has been begun, and what it held is given back."""
    its = EngineThread(store, EngineOptions(device="cpu", threads=1, kv_tokens=2048))
    await its.start()
    gate.close()
    questions: list[Question] = [inspection([40, 41]), TraceRequest(tuple(PROMPT), 0, 0)]
    waiting = [asyncio.create_task(its.examine("tiny", each)) for each in questions]
    await until(lambda: gate.steps_of("inspection") == 1)
    stopping = asyncio.create_task(its.stop())
    gate.allow()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, EngineStopped | Inspected | Trace)
    await stopping
    (engine,) = its.engines()
    assert engine.cache.free_blocks == engine.cache.total_blocks
    with pytest.raises(EngineStopped):
        await its.examine("tiny", questions[0])


async def test_a_process_answers_as_a_thread_does(tmp_path: Path, thread: EngineThread) -> None:
    questions: list[Question] = [
        inspection([40, 41], SAMPLING),
        TraceRequest(tuple(PROMPT), 1, 0),
        Scoring(tuple(PROMPT), 3),
        Embedding((tuple(PROMPT), (5,))),
    ]
    async with running(tiny_store(tmp_path / "other")) as process:
        for question in questions:
            there = await process.examine("tiny", question)
            assert there == await thread.examine("tiny", question)


def test_the_runner_of_a_gpu_answers_alike(engines: Any, on_host: MakeRunner, tiny: Path) -> None:
    """Its bookkeeping, on the host: a question beside an answer that is a step ahead."""
    alone: TinyEngine = engines()
    its = Engine(on_host(tiny, alone.options), alone.codec, alone.options)
    question = inspection([40, 41, 42], SAMPLING)
    its.add(GenerateRequest("a", "tiny", (5, 6), GREEDY))
    its.step()
    found, wanted = asked(its, question), asked(alone.engine, question)
    assert isinstance(found, Inspected)
    assert isinstance(wanted, Inspected)
    for odds, other in zip(found.tokens, wanted.tokens, strict=True):
        assert odds.token.raw == pytest.approx(other.token.raw, rel=1e-3)
        assert odds.rank == other.rank
    trace = TraceRequest(tuple(PROMPT), 1, 2)
    one, two = asked(its, trace), asked(alone.engine, trace)
    assert isinstance(one, Trace)
    assert isinstance(two, Trace)
    assert one.token == two.token
