"""Log probabilities: those of the model's raw logits, as transformers computes them, beside an
answer and of a prompt, whatever the sampler made of them and on every runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from inference import scorings
from inference.device_logprobs import as_told, logprobs_of
from inference.engine import Engine
from inference.errors import InvalidParameter
from inference.examination import Embedded, Embedding, Scored, Scoring
from inference.logprobs import TokenLogprobs
from inference.types import Delta, GenerateRequest, SamplingParams
from tests.fixtures_models import chat_model_dir
from tests.host_runner import MakeRunner, on_host
from tests.reference_model import forced, reference
from tests.test_examinations import PROMPT, asked
from tests.tiny_engine import GREEDY, Answer, TinyEngine, engines, poisoned, tiny, tiny_half

__all__ = ["chat_model_dir", "engines", "on_host", "poisoned", "tiny", "tiny_half"]
pytestmark = pytest.mark.real_engine

Make = Callable[..., TinyEngine]
DRAWN = SamplingParams(
    temperature=1.3, top_k=30, repetition_penalty=1.5, presence_penalty=1, logit_bias={70: 8.0},
    seed=3, max_tokens=10, ignore_eos=True,
)  # fmt: skip
# fp32 on both sides, summed in another order
CLOSE = 2e-4


@pytest.fixture(scope="module")
def model(tiny: Path) -> LlamaForCausalLM:
    return reference(tiny)


def told(answer: Answer) -> list[TokenLogprobs]:
    return [each for delta in answer.of(Delta) for each in delta.logprobs]


def assert_true(found: list[TokenLogprobs], logits: torch.Tensor, ids: list[int], top: int) -> None:
    """logits fp32[n, V] of the reference."""
    assert [each.id for each in found] == ids
    for each, row in zip(found, logits.double().log_softmax(-1), strict=True):
        assert each.logprob == pytest.approx(float(row[each.id]), abs=CLOSE)
        assert each.rank == 1 + int((row > row[each.id]).sum())
        likely = row.topk(top)
        assert [id for id, _ in each.top] == likely.indices.tolist()
        assert [value for _, value in each.top] == pytest.approx(likely.values.tolist(), abs=CLOSE)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_an_answers_are_those_of_transformers(
    model: LlamaForCausalLM, engines: Make, sampling: SamplingParams
) -> None:
    """Before penalties, biases and temperature, which the drawn one has."""
    its = engines()
    answer = its.answer(PROMPT, sampling, logprobs=5)
    logits = forced(model, PROMPT, answer.token_ids)
    assert_true(told(answer), logits, answer.token_ids, 5)
    plain = its.answer(PROMPT, sampling)
    assert (plain.token_ids, told(plain)) == (answer.token_ids, [])


def test_nothing_is_guessed_for_who_wants_them(engines: Make) -> None:
    its = engines()
    plain = its.answer(PROMPT, replace(GREEDY, max_tokens=60, prompt_lookup=8))
    assert plain.finished.drafted_tokens > 0
    asking = its.answer(PROMPT, replace(GREEDY, max_tokens=60, prompt_lookup=8), logprobs=0)
    assert asking.finished.drafted_tokens == 0
    assert asking.token_ids == plain.token_ids
    assert [each.top for each in told(asking)] == [()] * 60


def test_limits_are_named(engines: Make) -> None:
    with pytest.raises(InvalidParameter, match="logprobs = 21"):
        GenerateRequest("a", "tiny", (1,), logprobs=21)
    with pytest.raises(InvalidParameter, match="logprobs = -1"):
        Scoring((1, 2), -1)
    with pytest.raises(InvalidParameter, match="prompt"):
        Scoring((), 1)
    with pytest.raises(InvalidParameter, match="input"):
        Embedding(((1,), ()))


def test_the_runner_of_a_gpu_tells_alike(
    model: LlamaForCausalLM, engines: Make, on_host: MakeRunner, tiny: Path
) -> None:
    """Some ask and some do not; one comes while others answer, in a seat that is not the first."""
    alone = engines()
    its = Engine(on_host(tiny, alone.options), alone.codec, alone.options)
    wanted = {"a": (GREEDY, 3), "b": (DRAWN, None), "c": (DRAWN, 7), "d": (GREEDY, 0)}
    answers = {name: Answer() for name in wanted}
    for name, (sampling, top) in wanted.items():
        its.add(GenerateRequest(name, "tiny", (*PROMPT, ord(name)), sampling, logprobs=top))
        for request_id, event in its.step():
            answers[request_id].events.append(event)
    while not its.is_idle:
        for request_id, event in its.step():
            answers[request_id].events.append(event)
    for name, (_, top) in wanted.items():
        found, ids = told(answers[name]), answers[name].token_ids
        if top is None:
            assert found == []
        else:
            assert_true(found, forced(model, [*PROMPT, ord(name)], ids), ids, top)


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_a_prompts_are_those_of_transformers(
    model: LlamaForCausalLM, engines: Make, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """In pieces that are as short as their rows of logits are long."""
    its = engines()
    monkeypatch.setattr(scorings, "MOST_LOGITS", rows * its.runner.config.vocab_size)
    text = [(7 * place) % 250 + 3 for place in range(100)]
    sizes: list[int] = []
    score = its.runner.score

    def counted(chunk: Any, came: Any, top: int) -> list[TokenLogprobs]:
        sizes.append(chunk.size)
        return score(chunk, came, top)

    monkeypatch.setattr(its.runner, "score", counted)
    found = asked(its.engine, Scoring(tuple(text), 4))
    assert isinstance(found, Scored)
    assert_true(list(found.tokens), forced(model, text[:1], text[1:]), text[1:], 4)
    assert (sum(sizes), max(sizes)) == (100, min(rows, 100))
    # an answer that goes on finds it in the cache, and another question reads it again
    assert its.answer(text).finished.cached_tokens == 96
    again = asked(its.engine, Scoring(tuple(text), 4))
    assert isinstance(again, Scored)
    assert [each.id for each in again.tokens] == text[1:]


def test_a_gpus_runner_scores_and_embeds_alike(
    engines: Make, on_host: MakeRunner, tiny: Path
) -> None:
    alone = engines()
    its = Engine(on_host(tiny, alone.options), alone.codec, alone.options)
    text = tuple(range(20, 90))
    one, other = asked(its, Scoring(text, 2)), asked(alone.engine, Scoring(text, 2))
    assert isinstance(one, Scored)
    assert isinstance(other, Scored)
    assert [each.id for each in one.tokens] == [each.id for each in other.tokens]
    for first, second in zip(one.tokens, other.tokens, strict=True):
        assert first.logprob == pytest.approx(second.logprob, abs=CLOSE)
    vectors = [asked(each, Embedding((text, (5, 6)))) for each in (its, alone.engine)]
    assert all(isinstance(each, Embedded) for each in vectors)
    for ours, theirs in zip(*(each.vectors for each in vectors), strict=True):  # type: ignore[union-attr]
        assert ours == pytest.approx(theirs, abs=CLOSE)


def test_vectors_are_those_of_transformers(model: LlamaForCausalLM, engines: Make) -> None:
    """The mean of the last states, of length 1; many texts, long and short, in a small cache."""
    its = engines(kv_tokens=128)
    texts = [tuple(range(10, 10 + size)) for size in (1, 120, 3, 17, 64, 1, 1)]
    found = asked(its.engine, Embedding(tuple(texts)))
    assert isinstance(found, Embedded)
    for ids, vector in zip(texts, found.vectors, strict=True):
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        wanted = torch.nn.functional.normalize(states.double().mean(0), dim=0)
        assert vector == pytest.approx(wanted.tolist(), abs=CLOSE)


def test_the_chat_models_are_those_of_transformers(chat_model_dir: Path) -> None:
    its = TinyEngine(chat_model_dir, dtype="float32")
    text = its.codec.encode("The capital of France is Paris, and 你好 means hello.")
    answer = its.answer(text, replace(GREEDY, max_tokens=4), logprobs=20)
    logits = forced(reference(chat_model_dir), text[:1], text[1:] + answer.token_ids)
    found = asked(its.engine, Scoring(tuple(text), 20))
    assert isinstance(found, Scored)
    assert_true(list(found.tokens), logits[: len(text) - 1], text[1:], 20)
    assert_true(told(answer), logits[len(text) - 1 :], answer.token_ids, 20)


def test_a_token_that_could_not_be_sampled_does_no_harm() -> None:
    """A GPU's row of numbers that overflowed is told of as any other, and not read."""
    found, numbers = logprobs_of(torch.full((1, 5), float("nan")), torch.tensor([-1]), 2)
    assert as_told(found, numbers, [2])[0].id == -1
