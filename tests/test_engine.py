"""The engine on a tiny random Llama: the same tokens however requests are put together, and room
that is given back however they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.errors import (
    ContextLengthExceeded,
    InvalidParameter,
    QueueFull,
)
from inference.kv_cache import BLOCK_SIZE
from inference.offline import run_to_end
from inference.types import GenerateRequest, SamplingParams
from tests.tiny_engine import (
    CONTEXT,
    GREEDY,
    TinyEngine,
    assert_same,
    engines,
    poisoned,
    tiny,
    tiny_half,
)

__all__ = ["engines", "poisoned", "tiny", "tiny_half"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

# Prompts of 1 to 100 tokens, around the ends of blocks.
PROMPTS = {
    f"{n}": [5 + (7 * n + 3 * i * i) % 500 for i in range(n)] for n in (1, 2, 15, 16, 17, 100)
}


@pytest.fixture(params=["fp32", "fp16"])
def model(request: pytest.FixtureRequest, tiny: Path, tiny_half: Path) -> Path:
    return tiny if request.param == "fp32" else tiny_half


# However requests are put together


@pytest.mark.parametrize("step_tokens", [9, 40, 500])
def test_together_and_in_pieces_as_alone_and_whole(
    engines: Engines, model: Path, step_tokens: int
) -> None:
    """All at once in steps of so many tokens, against one after the other in one step each."""
    together, alone = engines(model, step_tokens=step_tokens), engines(model, step_tokens=500)
    for name, prompt in PROMPTS.items():
        together.add(name, prompt)
    together.run()
    for name, prompt in PROMPTS.items():
        alone.add(name, prompt)
        alone.run()
        assert alone.runner.computed(name) == [len(prompt), *[1] * 11]
        assert_same(together, alone, name)
        assert together.answers[name].finished.output_tokens == 12
    assert max(sum(length for *_, length in step) for step in together.runner.steps) <= step_tokens


def test_requests_that_come_later_change_nothing(engines: Engines, model: Path) -> None:
    together, alone = engines(model, step_tokens=20), engines(model)
    for name, prompt in PROMPTS.items():
        together.add(name, prompt)
        together.step()
        together.step()
    together.run()
    for name, prompt in PROMPTS.items():
        alone.add(name, prompt)
        alone.run()
        assert_same(together, alone, name)


def test_blocks_that_others_used_are_as_good_as_new(engines: Engines) -> None:
    """Room for one request at a time: each writes over what the last one left."""
    crowded, roomy = engines(kv_tokens=CONTEXT, max_batch=1), engines()
    for name in ("100", "17", "100", "2"):
        used, fresh = crowded.answer(PROMPTS[name]), roomy.answer(PROMPTS[name])
        assert used.token_ids == fresh.token_ids


def test_an_answer_reads_well_from_its_parts(engines: Engines) -> None:
    its = engines()
    answer = its.answer("once upon a time ", SamplingParams(seed=4, max_tokens=40, ignore_eos=True))
    assert len(answer.token_ids) == len(answer.offsets) == 40
    whole = its.codec.decode(answer.token_ids)
    assert whole.startswith(answer.text)
    assert set(whole[len(answer.text) :]) <= {"\ufffd"}
    assert answer.offsets == sorted(answer.offsets)
    for index, offset in enumerate(answer.offsets):
        assert whole[:offset] == its.codec.decode(answer.token_ids[:index])[:offset]


def test_run_to_end_is_an_engine_without_a_thread(engines: Engines) -> None:
    its, alone = engines(), engines().answer(PROMPTS["17"])
    tokens: list[int] = []

    def collect(events: Any) -> None:
        tokens.extend(t for _, event in events for t in getattr(event, "token_ids", ()))

    run_to_end(its.engine, [GenerateRequest("a", "tiny", tuple(PROMPTS["17"]), GREEDY)], collect)
    assert tokens == alone.token_ids


# What is said on the way


def test_places_in_the_queue_are_told_when_they_change(engines: Engines) -> None:
    its = engines(max_batch=1)
    for name in "abc":
        its.add(name, [7, 8], SamplingParams(max_tokens=3, ignore_eos=True))
    its.run()
    assert [its.answers[name].positions for name in "abc"] == [[], [1], [2, 1]]


def test_who_matters_more_goes_first_in_the_queue(engines: Engines) -> None:
    its = engines(max_batch=1)
    its.add("running", [7, 8])
    its.step()
    its.add("late", [7, 8], priority=5)
    its.step()
    its.add("urgent", [7, 8], priority=-1)
    its.run()
    assert its.answers["late"].positions == [1, 2, 1]
    assert its.answers["urgent"].positions == [1]


def test_progress_of_a_prompt_is_told_in_steps(engines: Engines) -> None:
    its = engines(step_tokens=40)
    answer = its.answer(PROMPTS["100"])
    assert answer.progress == [(40, 100), (80, 100), (100, 100)]
    assert its.answer(PROMPTS["17"]).progress == []


def test_the_end_counts_and_times_what_was(engines: Engines) -> None:
    its = engines(max_batch=1)
    its.add("a", PROMPTS["17"])
    its.add("b", PROMPTS["100"])
    its.run()
    first, second = its.answers["a"].finished, its.answers["b"].finished
    assert (first.prompt_tokens, first.output_tokens, first.cached_tokens) == (17, 12, 0)
    assert (second.prompt_tokens, second.output_tokens) == (100, 12)
    for finished in (first, second):
        times = finished.timings
        assert min(times.prefill_s, times.decode_s) > 0
    ran = first.timings.prefill_s + first.timings.decode_s
    assert second.timings.queue_s >= ran
    assert first.timings.queue_s >= 0


# Refused


@pytest.mark.parametrize(("kv_tokens", "limit"), [(1024, CONTEXT), (64, 64)])
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    engines: Engines, kv_tokens: int, limit: int
) -> None:
    """The model's context, or the cache where that is smaller."""
    its = engines(kv_tokens=kv_tokens)
    for length in (limit, limit + 50):
        with pytest.raises(ContextLengthExceeded) as refused:
            its.add("a", [9] * length)
        assert refused.value.fields == {"prompt_tokens": length, "context_length": limit}
    answer = its.answer([9] * (limit - 1))
    assert (answer.finished.reason, answer.finished.output_tokens) == ("length", 1)


def test_a_full_queue_refuses_and_forgets(engines: Engines) -> None:
    its = engines(max_batch=1, queue_limit=2)
    its.add("running", [7, 8])
    its.step()
    its.add("a", [7, 8])
    its.add("b", [7, 8])
    with pytest.raises(QueueFull) as refused:
        its.add("c", [7, 8])
    seconds = refused.value.fields["retry_after_s"]
    assert refused.value.fields == {"waiting": 2, "limit": 2, "retry_after_s": seconds}
    assert seconds >= 1
    its.run()
    its.add("c", [7, 8])
    its.run()
    assert its.answers["c"].finished.output_tokens == 12


@pytest.mark.parametrize(
    ("prompt", "sampling", "param", "value"),
    [
        ([5, 512], GREEDY, "prompt token", 512),
        ([5, -1], GREEDY, "prompt token", -1),
        ([5], SamplingParams(logit_bias={512: 1.0}), "logit_bias token", 512),
        ([5], SamplingParams(stop_token_ids=(3, 600)), "stop_token_ids", 600),
    ],
)
def test_a_token_that_is_not_in_the_vocabulary_is_refused(
    engines: Engines, prompt: list[int], sampling: SamplingParams, param: str, value: int
) -> None:
    its = engines()
    with pytest.raises(InvalidParameter, match="below the vocabulary of 512") as refused:
        its.add("a", prompt, sampling)
    assert (refused.value.fields["param"], refused.value.fields["value"]) == (param, value)
    assert its.engine.is_idle


def test_the_last_token_of_the_vocabulary_is_not_refused(engines: Engines) -> None:
    sampling = SamplingParams(logit_bias={511: 100}, stop_token_ids=(511,))
    assert engines().answer([511], sampling).token_ids == [511]


def test_a_second_request_of_the_same_name_is_refused_and_the_first_goes_on(
    engines: Engines,
) -> None:
    its = engines()
    its.add("a", [7, 8])
    its.step()
    with pytest.raises(InvalidParameter, match=r"request_id = 'a' .* unique"):
        its.engine.add(GenerateRequest("a", "tiny", (9,), GREEDY))
    its.run()
    assert its.answers["a"].token_ids == engines().answer([7, 8]).token_ids


def test_a_request_that_cannot_be_read_leaves_nothing_behind(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = engines()
    with monkeypatch.context() as patch:
        patch.setattr(its.codec, "token_bytes", None)
        patch.setattr(its.codec, "decode", lambda ids: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            its.add("a", [7, 8], answer_start=1)
    assert its.engine.is_idle
    assert its.answer([7, 8]).finished.output_tokens == 12


# Cancelled


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_a_cancelled_request_frees_its_blocks_and_is_computed_no_more(
    engines: Engines, steps: int
) -> None:
    """In the middle of its prompt, at its end, in the middle of its answer; beside another."""
    its = engines(step_tokens=40)
    its.add("other", [7, 8])
    its.add("a", PROMPTS["100"])
    for _ in range(steps):
        its.step()
    free = its.engine.cache.free_blocks
    its.engine.cancel("a")
    held = -(-(100 + 12) // BLOCK_SIZE)
    assert its.engine.cache.free_blocks == free + held
    computed, said = its.runner.computed("a"), len(its.answers["a"].events)
    its.run()
    assert its.runner.computed("a") == computed
    assert len(its.answers["a"].events) == said
    assert its.answers["other"].token_ids == engines().answer([7, 8]).token_ids


def test_a_waiting_request_is_cancelled_and_the_others_move_up(engines: Engines) -> None:
    its = engines(max_batch=1)
    for name in "abc":
        its.add(name, [7, 8])
    its.step()
    its.engine.cancel("b")
    its.step()
    assert its.answers["c"].positions == [2, 1]
    its.run()
    assert its.runner.computed("b") == []


def test_cancelling_what_is_not_there_changes_nothing(engines: Engines) -> None:
    its = engines()
    its.engine.cancel("nobody")
    answer = its.answer([7, 8])
    its.engine.cancel("alone-0")
    assert answer.finished.output_tokens == 12
