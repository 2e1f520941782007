"""Guesses from the text so far change how many tokens a step gives, never which: real tiny models,
in deterministic mode, where tokens are the same to the last one, and by default, where logits are
the same but for their last bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kernels
from inference.engine import Engine
from inference.errors import RequestFailed
from inference.kv_cache import BLOCK_SIZE
from inference.types import MAX_PROMPT_LOOKUP, Delta, Finished, SamplingParams
from tests.host_runner import MakeRunner, on_host
from tests.tiny_engine import TinyEngine, assert_same, byte_ids, engines, poisoned, tiny
from tests.tiny_llama import EOS_ID, write_tiny_llama

__all__ = ["engines", "on_host", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

PROMPT = byte_ids("to be or not to be, that is to say: to be or not")
# Of so few letters that what was said before is often said again.
FEW = dict.fromkeys(byte_ids("abc"), 100.0)
GREEDY = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, logit_bias=FEW)
SAMPLED = replace(GREEDY, temperature=2.0, seed=5)
SAMPLINGS = {
    "greedy": GREEDY,
    "sampled": SAMPLED,
    "top-k": replace(SAMPLED, top_k=2),
    "top-p": replace(SAMPLED, top_p=0.7),
    "min-p": replace(SAMPLED, min_p=0.2, max_tokens=1),
    "repetition": replace(SAMPLED, repetition_penalty=1.02),
    "presence, frequency": replace(SAMPLED, presence_penalty=0.5, frequency_penalty=0.15),
    "all": replace(
        SAMPLED, top_k=40, top_p=0.95, min_p=0.01, repetition_penalty=0.99, frequency_penalty=-0.1
    ),
    "a stop string": replace(SAMPLED, stop=("cbca", "bbb")),
    "a stop token": replace(SAMPLED, stop_token_ids=tuple(byte_ids("c"))),
    "until the context is full": replace(GREEDY, max_tokens=None),
}


@pytest.fixture
def deterministic() -> Iterator[None]:
    kernels.use_products(kernels.Products(invariant=True))
    yield
    kernels.use_products(kernels.Products())


def told(its: TinyEngine, name: str) -> tuple[object, ...]:
    """All that a reader sees of an answer."""
    answer = its.answers[name]
    end = answer.finished
    return answer.token_ids, answer.text, answer.offsets, end.reason, end.stop_string


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_answers_are_those_of_one_token_a_step(engines: Engines, kind: str) -> None:
    its = engines(deterministic=True)
    its.add("ordinary", PROMPT, SAMPLINGS[kind])
    its.run()
    for most in (1, 4, MAX_PROMPT_LOOKUP):
        its.add(f"{most}", PROMPT, replace(SAMPLINGS[kind], prompt_lookup=most))
        its.run()
        assert told(its, f"{most}") == told(its, "ordinary")
        end = its.answers[f"{most}"].finished
        assert end.accepted_tokens <= end.drafted_tokens
        assert sum(its.runner.computed(f"{most}")[1:]) - end.drafted_tokens < end.output_tokens


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("seed", range(4))
def test_random_models_and_company(engines: Engines, tmp_path: Path, seed: int) -> None:
    """Some guess, some do not; they come one after the other and leave one after the other."""
    model = write_tiny_llama(tmp_path / "model", seed=seed, context=128, vocab=300)
    its, alone = engines(model, deterministic=True), engines(model, deterministic=True)
    kinds = [replace(s, seed=seed) for s in SAMPLINGS.values() if s.max_tokens == 40]
    for i, sampling in enumerate(kinds):
        its.add(f"{i}", PROMPT[i:], replace(sampling, prompt_lookup=4 * (i % 3)))
        its.step()
    its.run()
    accepted = drafted = 0
    for i, sampling in enumerate(kinds):
        alone.add(f"{i}", PROMPT[i:], sampling)
        alone.run()
        assert told(its, f"{i}") == told(alone, f"{i}")
        drafted += its.answers[f"{i}"].finished.drafted_tokens
        accepted += its.answers[f"{i}"].finished.accepted_tokens
    assert 0 < accepted < drafted


def test_by_default_logits_differ_in_their_last_bits_only(engines: Engines) -> None:
    """So tokens are the same until two logits are as good as equal."""
    its, ordinary = engines(), engines()
    for engine, most in ((its, 8), (ordinary, 0)):
        engine.add("one", PROMPT, replace(GREEDY, prompt_lookup=most))
        engine.run()
    assert its.answers["one"].finished.accepted_tokens > 0
    assert_same(ordinary, its, "one")


def say(
    its: TinyEngine, text: str, sampling: SamplingParams, *more: int, name: str = "told"
) -> None:
    """Have a request say a text, whatever the model thinks."""
    its.runner.says[name] = [*byte_ids(text), *more]
    its.add(name, byte_ids("x"), sampling)


def test_steps_give_several_tokens(engines: Engines) -> None:
    its = engines()
    text = "abcdefgh" * 8
    say(its, text, SamplingParams(temperature=0, max_tokens=64, prompt_lookup=8))
    its.run()
    answer = its.answers["told"]
    assert answer.text == text
    sizes = its.runner.computed("told")[1:]
    assert len(sizes) < 20
    assert max(sizes) == 9
    assert answer.finished.drafted_tokens == sum(sizes) - len(sizes)
    assert len(answer.of(Delta)) == 64


@pytest.mark.parametrize("end", ["eos", "stop string", "stop token"])
def test_an_end_in_mid_draft_is_the_end(engines: Engines, end: str) -> None:
    """What was guessed behind it is never heard of."""
    its, letters = engines(), "abcdefgh"
    sampling = SamplingParams(temperature=0, max_tokens=100, prompt_lookup=8)
    marks = {"eos": [EOS_ID], "stop string": byte_ids("?"), "stop token": byte_ids("!")}
    sampling = replace(sampling, stop=("?",), stop_token_ids=tuple(byte_ids("!")))
    unused = 0
    for length in range(40, 49):
        text = (letters * 7)[:length]
        after = byte_ids((letters * 7)[length:])
        say(its, text, sampling, *marks[end], *after, name=f"{length}")
        its.run()
        answer = its.answers[f"{length}"]
        assert answer.finished.reason == "stop"
        assert answer.text == text
        assert answer.token_ids == [*byte_ids(text), *marks[end]]
        unused += answer.finished.drafted_tokens - answer.finished.accepted_tokens
    assert unused > 9


def test_max_tokens_are_not_passed(engines: Engines) -> None:
    for most in range(41, 58):
        its = engines()
        say(its, "ab" * 40, SamplingParams(temperature=0, max_tokens=most, prompt_lookup=16))
        its.run()
        assert its.answers["told"].finished.output_tokens == most


def test_an_overflow_behind_a_guess_that_was_wrong_harms_nobody(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who never hears of the row; who does fails."""
    its = engines()
    run = its.runner.run

    def spoil_guesses(chunks: tuple[object, ...]) -> object:
        """Every row but the first."""
        logits = run(chunks)  # type: ignore[arg-type]
        logits[1:] = float("nan")
        return logits

    monkeypatch.setattr(its.runner, "run", spoil_guesses)
    sampling = SamplingParams(temperature=0, max_tokens=9, prompt_lookup=8)
    for name, text in {"wrong": "aWaXaYaZa", "right": "abababab"}.items():
        say(its, text, sampling, name=name)
        its.run()
    assert its.answers["wrong"].finished.drafted_tokens > 0
    assert its.answers["wrong"].text == "aWaXaYaZa"
    assert isinstance(its.answers["right"].events[-1], RequestFailed)
    assert its.answers["right"].text == "abab"


@pytest.mark.usefixtures("deterministic")
def test_the_next_turn_finds_only_what_was_said(engines: Engines) -> None:
    """Blocks that held wrong guesses for a while are as good as any."""
    its, fresh = engines(deterministic=True), engines(deterministic=True, reuse=False)
    first = its.answer(PROMPT, replace(SAMPLED, prompt_lookup=16))
    assert first.finished.drafted_tokens > first.finished.accepted_tokens
    turn = [*PROMPT, *first.token_ids, *byte_ids("go on")]
    second, again = its.answer(turn, SAMPLED), fresh.answer(turn, SAMPLED)
    said = len(PROMPT) + len(first.token_ids)
    assert second.finished.cached_tokens == (said - 1) // BLOCK_SIZE * BLOCK_SIZE
    assert second.token_ids == again.token_ids


@pytest.mark.usefixtures("deterministic")
def test_where_room_is_short_nobody_is_put_aside_for_a_guess(engines: Engines) -> None:
    """A cache that holds three whole answers, to the block."""
    length = 6 * BLOCK_SIZE
    sampling = replace(SAMPLED, max_tokens=length - len(PROMPT))
    its = engines(deterministic=True, kv_tokens=3 * length, max_batch=3, reuse=False)
    plain = engines(deterministic=True)
    for i in range(3):
        its.add(f"{i}", PROMPT, replace(sampling, seed=i, prompt_lookup=16))
    its.run()
    for i in range(3):
        end = its.answers[f"{i}"].finished
        assert end.drafted_tokens > 0
        reads = sum(its.runner.computed(f"{i}")) - end.drafted_tokens + end.accepted_tokens
        assert reads == length - 1, "somebody read again"
        assert (
            its.answers[f"{i}"].token_ids
            == plain.answer(PROMPT, replace(sampling, seed=i)).token_ids
        )


@pytest.mark.usefixtures("deterministic")
def test_who_is_put_aside_goes_on_as_if_nothing_had_been(engines: Engines) -> None:
    crowded = engines(deterministic=True, kv_tokens=160, reuse=False)
    roomy = engines(deterministic=True)
    for i in range(4):
        crowded.add(f"{i}", PROMPT[i:], replace(SAMPLED, prompt_lookup=8))
    crowded.run()
    for i in range(4):
        roomy.add(f"{i}", PROMPT[i:], SAMPLED)
        roomy.run()
        assert told(crowded, f"{i}") == told(roomy, f"{i}")
    computed = [n for i in range(4) for n in crowded.runner.computed(f"{i}")]
    assert len([n for n in computed if n > 20]) > 4, "nobody was put aside"


# The GPU's runner, whose steps are launched before the tokens of the last one are known.


@pytest.fixture
def ahead(engines: Engines, on_host: MakeRunner, tiny: Path) -> Engines:
    def make(**options: object) -> TinyEngine:
        its = engines(tiny, deterministic=True, **options)
        runner = on_host(tiny, its.options)
        runner.draft_cost = its.runner.draft_cost
        its.engine = Engine(runner, its.codec, its.options)
        return its

    return make


def test_ahead_and_in_company_the_same_answers(engines: Engines, ahead: Engines) -> None:
    its, cpu = ahead(), engines(deterministic=True)
    kinds = [s for s in SAMPLINGS.values() if s.max_tokens == 40]
    for i, sampling in enumerate(kinds):
        its.add(f"{i}", PROMPT[i:], replace(sampling, prompt_lookup=8 * (i % 3 != 2)))
        its.step()
    its.run()
    accepted = drafted = 0
    for i, sampling in enumerate(kinds):
        cpu.add(f"{i}", PROMPT[i:], sampling)
        cpu.run()
        assert told(its, f"{i}") == told(cpu, f"{i}")
        drafted += its.answers[f"{i}"].finished.drafted_tokens
        accepted += its.answers[f"{i}"].finished.accepted_tokens
    assert 0 < accepted < drafted


def test_ahead_somebody_is_put_aside_or_cancelled_in_mid_draft(
    engines: Engines, ahead: Engines
) -> None:
    its, cpu = ahead(kv_tokens=160), engines(deterministic=True)
    for i in range(4):
        its.add(f"{i}", PROMPT[i:], replace(SAMPLED, prompt_lookup=8))
    its.add("doomed", PROMPT, replace(GREEDY, max_tokens=70, prompt_lookup=8), priority=-1)
    under_way = its.engine._scheduler
    its.run(until=lambda: any(s.draft for s in under_way.running if s.request.priority))
    assert not its.answers["doomed"].of(Finished)
    its.engine.cancel("doomed")
    its.engine.cache.check_integrity()
    its.run()
    for i in range(4):
        cpu.add(f"{i}", PROMPT[i:], SAMPLED)
        cpu.run()
        assert told(its, f"{i}") == told(cpu, f"{i}")
