"""How an answer ends, what its text and offsets are then, and how it begins again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inference.runner import Step
from inference.scheduler import Chunk
from inference.types import Finished, SamplingParams
from tests.tiny_engine import CONTEXT, TinyEngine, byte_ids, engines, poisoned, tiny
from tests.tiny_llama import EOS_ID

__all__ = ["engines", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]


def told(its: TinyEngine, says: list[int], **sampling: object) -> tuple[str, list[int], Finished]:
    """Text, offsets and end of an answer whose tokens are given (as many as are asked for)."""
    name = f"told-{len(its.answers)}"
    its.runner.says[name] = says
    params = SamplingParams(temperature=0, **sampling)  # type: ignore[arg-type]
    its.add(name, "go on", params)
    its.run()
    answer = its.answers[name]
    assert answer.token_ids == says[: len(answer.token_ids)]
    assert answer.finished.output_tokens == len(answer.token_ids)
    return answer.text, answer.offsets, answer.finished


# Stop strings


@pytest.mark.parametrize(
    ("stop", "text", "tokens"),
    [
        (("xyz",), "abxyc", 8),
        (("nothing", "c"), "abxy", 5),
        (("abxycxyzq", "yc"), "abx", 5),
        (("a",), "", 1),
        (("xy", "xyc"), "ab", 4),
    ],
)
def test_a_stop_string_ends_the_text_before_it(
    engines: Engines, stop: tuple[str, ...], text: str, tokens: int
) -> None:
    shown, offsets, finished = told(engines(), byte_ids("abxycxyzq"), stop=stop, max_tokens=9)
    assert shown == text
    assert (finished.reason, finished.output_tokens) == ("stop", tokens)
    assert finished.stop_string in stop
    assert offsets == list(range(tokens))


def test_a_stop_string_that_is_not_completed_is_shown(engines: Engines) -> None:
    text, offsets, finished = told(engines(), byte_ids("abxy"), stop=("xyz",), max_tokens=4)
    assert (text, finished.reason, finished.stop_string) == ("abxy", "length", None)
    assert offsets == [0, 1, 2, 3]


def test_a_stop_string_across_characters_of_several_bytes(engines: Engines) -> None:
    says = byte_ids("你好。再见")
    text, offsets, finished = told(engines(), says, stop=("。",), max_tokens=15)
    assert (text, finished.stop_string, finished.output_tokens) == ("你好", "。", 9)
    assert offsets == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_stop_string_in_the_prompt_ends_nothing(engines: Engines) -> None:
    its = engines()
    its.runner.says["a"] = byte_ids("n me")
    its.add("a", "go on", SamplingParams(temperature=0, max_tokens=4, stop=("on",)))
    its.run()
    assert its.answers["a"].text == "n me"


# Tokens that end


def test_the_end_of_text_ends_an_answer_without_being_shown(engines: Engines) -> None:
    text, offsets, finished = told(engines(), [*byte_ids("ab"), EOS_ID, *byte_ids("c")])
    assert (text, offsets) == ("ab", [0, 1, 2])
    assert (finished.reason, finished.stop_string) == ("stop", None)
    assert finished.output_tokens == 3


def test_the_end_of_text_can_be_ignored(engines: Engines) -> None:
    says = [*byte_ids("ab"), EOS_ID, *byte_ids("c")]
    text, offsets, finished = told(engines(), says, ignore_eos=True, max_tokens=4)
    assert (text, offsets, finished.reason) == ("abc", [0, 1, 2, 2], "length")


@pytest.mark.parametrize("ignore_eos", [True, False])
def test_a_stop_token_ends_an_answer_whatever_it_is(engines: Engines, ignore_eos: bool) -> None:
    says, stops = byte_ids("abcd"), tuple(byte_ids("xc"))
    text, offsets, finished = told(engines(), says, stop_token_ids=stops, ignore_eos=ignore_eos)
    assert (text, offsets, finished.reason) == ("ab", [0, 1, 2], "stop")
    assert finished.output_tokens == 3


def test_the_first_token_may_be_the_last(engines: Engines) -> None:
    text, offsets, finished = told(engines(), [EOS_ID])
    assert (text, offsets, finished.reason) == ("", [0], "stop")


def test_what_was_held_for_a_stop_string_is_shown_at_the_end(engines: Engines) -> None:
    """The ending token stands behind it."""
    text, offsets, finished = told(engines(), [*byte_ids("abxy"), EOS_ID], stop=("xyz",))
    assert (text, offsets) == ("abxy", [0, 1, 2, 3, 4])
    assert (finished.reason, finished.stop_string) == ("stop", None)


def test_half_a_character_at_the_end_is_not_shown(engines: Engines) -> None:
    cut = byte_ids("é你")[:-1]
    text, offsets, _ = told(engines(), [*cut, EOS_ID])
    assert (text, offsets) == ("é", [0, 0, 1, 1, 1])
    text, offsets, _ = told(engines(), cut, max_tokens=4)
    assert (text, offsets) == ("é", [0, 0, 1, 1])


# Length


@pytest.mark.parametrize("count", [1, 2, 16, 17])
def test_as_many_tokens_as_asked_for(engines: Engines, count: int) -> None:
    its = engines()
    answer = its.answer(byte_ids("abc"), SamplingParams(max_tokens=count, ignore_eos=True))
    assert (answer.finished.reason, len(answer.token_ids)) == ("length", count)
    steps = [length for name in its.answers for length in its.runner.computed(name)]
    assert steps == [3, *[1] * (count - 1)]  # the last token is never computed


@pytest.mark.parametrize("max_tokens", [None, 1000])
def test_a_full_context_ends_an_answer(engines: Engines, max_tokens: int | None) -> None:
    its = engines()
    answer = its.answer([9] * 100, SamplingParams(max_tokens=max_tokens, ignore_eos=True))
    assert (answer.finished.reason, len(answer.token_ids)) == ("length", CONTEXT - 100)


def test_a_stop_on_the_last_token_is_a_stop(engines: Engines) -> None:
    *_, finished = told(engines(), byte_ids("abc"), stop=("c",), max_tokens=3)
    assert finished.reason == "stop"
    *_, finished = told(engines(), [*byte_ids("ab"), EOS_ID], max_tokens=3)
    assert finished.reason == "stop"


# Seeds


def test_a_seed_repeats_alone_and_in_company(engines: Engines) -> None:
    its = engines()
    sampling = SamplingParams(seed=77, max_tokens=20, ignore_eos=True)
    first = its.answer("once ", sampling)
    for name in "abc":
        its.add(name, "once ", sampling)
    its.add("other", "once ", SamplingParams(seed=78, max_tokens=20, ignore_eos=True))
    its.run()
    assert [its.answers[name].token_ids for name in "abc"] == [first.token_ids] * 3
    assert its.answers["other"].token_ids != first.token_ids
    assert first.finished.seed == 77


def test_a_seed_that_was_drawn_is_told_and_repeats(engines: Engines) -> None:
    its = engines()
    drawn = [its.answer("once ", SamplingParams(max_tokens=20)) for _ in range(3)]
    seeds = [answer.finished.seed for answer in drawn]
    assert len(set(seeds)) == 3
    again = its.answer("once ", SamplingParams(max_tokens=20, seed=seeds[1]))
    assert again.token_ids == drawn[1].token_ids


def test_greedy_does_not_look_at_the_seed(engines: Engines) -> None:
    its = engines()
    answers = [its.answer("once ", SamplingParams(temperature=0, seed=s)) for s in (1, 2)]
    assert answers[0].token_ids == answers[1].token_ids


def test_penalties_and_bias_reach_the_model(engines: Engines) -> None:
    its = engines()
    biased = its.answer("a", SamplingParams(logit_bias={300: 100}, max_tokens=3))
    assert biased.token_ids == [300] * 3
    penalized = SamplingParams(
        temperature=0, logit_bias={300: 100}, frequency_penalty=2, repetition_penalty=10
    )
    first, second, *_ = its.answer("a", penalized).token_ids
    assert first == 300
    assert second != 300


# Going on


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_continued_answer_completes_the_character_that_was_cut(
    engines: Engines, cut: int
) -> None:
    """Cut behind each of its bytes, the halves are the whole, and nothing is there twice."""
    its, says, prompt = engines(), byte_ids("你é!"), byte_ids("go on")
    before, _, _ = told(its, says, max_tokens=cut)
    its.runner.says["more"] = says[cut:]
    sampling = SamplingParams(temperature=0, max_tokens=6 - cut)
    its.add("more", [*prompt, *says[:cut]], sampling, answer_start=len(prompt))
    its.run()
    assert before == {1: "", 2: "", 3: "你", 4: "你", 5: "你é"}[cut]
    assert before + its.answers["more"].text == "你é!"


def test_without_an_answer_to_go_on_with_the_other_half_is_no_character(engines: Engines) -> None:
    its, says = engines(), byte_ids("é!")
    its.runner.says["new"] = says[1:]
    its.add("new", [*byte_ids("go on"), says[0]], SamplingParams(temperature=0, max_tokens=2))
    its.run()
    assert its.answers["new"].text == "\ufffd!"


def test_a_continued_answer_goes_on_as_if_it_had_not_paused(engines: Engines) -> None:
    its, prompt = engines(), byte_ids("once ")
    whole = its.answer(prompt, SamplingParams(seed=3, max_tokens=20, ignore_eos=True)).token_ids
    rest = its.answer(
        [*prompt, *whole[:8]],
        SamplingParams(seed=3, max_tokens=12, ignore_eos=True),
        answer_start=len(prompt),
    )
    assert rest.token_ids == whole[8:]


def test_reading_a_prompt_begins_before_it_is_computed(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU a step is computed where it is launched: that is no time in the queue."""
    its, started = engines(), []
    launch = its.runner.launch

    def watched(chunks: tuple[Chunk, ...]) -> Step:
        started.append(its.engine._active["a"].started)
        return launch(chunks)

    monkeypatch.setattr(its.runner, "launch", watched)
    its.add("a", [7, 8])
    its.run()
    assert set(started) == {started[0]} != {0.0}
