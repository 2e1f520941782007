"""The engine takes what it has read before from its cache, and reads again what it had to put
aside: the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kernels
from inference.kv_cache import BLOCK_SIZE
from inference.types import SamplingParams
from tests.tiny_engine import TinyEngine, assert_same, engines, poisoned, tiny, tiny_half
from tests.tiny_llama import write_tiny_llama

__all__ = ["engines", "poisoned", "tiny", "tiny_half"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

GREEDY = SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)
SAMPLED = SamplingParams(temperature=1.0, top_p=0.9, seed=5, max_tokens=30, ignore_eos=True)


def text(length: int, seed: int) -> list[int]:
    return [5 + (seed + 7 * length + 3 * i * i + i) % 500 for i in range(length)]


@pytest.fixture
def deterministic() -> Iterator[None]:
    kernels.use_products(kernels.Products(invariant=True))
    yield
    kernels.use_products(kernels.Products())


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_second_turn_reads_only_what_is_new_and_answers_the_same(
    engines: Engines, sampling: SamplingParams
) -> None:
    its, fresh = engines(), engines(reuse=False)
    first = its.answer(text(50, 1), sampling)
    turn = text(50, 1) + first.token_ids + text(20, 2)
    its.add("second", turn, sampling)
    its.run()
    fresh.add("second", turn, sampling)
    fresh.run()
    # the answer's last token was never computed
    cached = (50 + 30 - 1) // BLOCK_SIZE * BLOCK_SIZE
    assert its.answers["second"].finished.cached_tokens == cached
    assert its.runner.computed("second")[0] == len(turn) - cached
    assert fresh.answers["second"].finished.cached_tokens == 0
    assert_same(its, fresh, "second")


def test_what_is_being_read_is_shared_with_who_comes_later(engines: Engines) -> None:
    its = engines()
    its.add("first", [*text(64, 1), 7])
    its.step()
    its.add("second", [*text(64, 1), 8])
    its.run()
    assert its.answers["second"].finished.cached_tokens == 64


def test_a_chat_of_twenty_turns_reads_nineteen_of_twenty_tokens_from_the_cache(
    tmp_path: Path, poisoned: None
) -> None:
    its = TinyEngine(write_tiny_llama(tmp_path, context=4096), kv_tokens=4096)
    said: list[int] = []
    before = cached = 0
    for turn in range(20):
        prompt = said + text(120, turn)
        answer = its.answer(prompt, SamplingParams(max_tokens=60, ignore_eos=True, seed=turn))
        before += len(said)
        cached += answer.finished.cached_tokens
        said = prompt + answer.token_ids
    assert cached >= 0.95 * before


def test_progress_begins_behind_what_is_known(engines: Engines) -> None:
    its = engines(step_tokens=40)
    its.answer(text(64, 1))
    answer = its.answer([*text(64, 1), *text(60, 2)])
    assert answer.progress == [(104, 124), (124, 124)]
    assert its.answer([*text(64, 1), 9]).progress == []


def test_a_prompt_that_overflowed_is_not_kept(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = engines(step_tokens=20)
    its.add("bad", text(40, 1))
    with monkeypatch.context() as patch:
        run = its.runner.run
        patch.setattr(its.runner, "run", lambda chunks: run(chunks) + float("nan"))
        its.run()
    assert its.answers["bad"].error.code == "request_failed"
    assert its.answer(text(40, 1)).finished.cached_tokens == 0


@pytest.mark.parametrize("reuse", [True, False])
def test_who_is_put_aside_reads_again_and_goes_on(engines: Engines, reuse: bool) -> None:
    """A cache for two of five answers."""
    crowded, roomy = engines(kv_tokens=160, reuse=reuse), engines(reuse=False)
    long = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)
    for i in range(5):
        crowded.add(f"{i}", text(20 + i, i), long)
    crowded.run()
    for i in range(5):
        roomy.add(f"{i}", text(20 + i, i), long)
        roomy.run()
        assert crowded.answers[f"{i}"].finished.output_tokens == 60
        assert_same(crowded, roomy, f"{i}")
    reads = [sum(crowded.runner.computed(f"{i}")) for i in range(5)]
    assert sum(reads) > sum(20 + i + 59 for i in range(5)), "nobody was put aside"


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_in_deterministic_mode_neither_changes_a_bit(
    engines: Engines, tiny_half: Path, sampling: SamplingParams
) -> None:
    options = {"deterministic": True, "kv_tokens": 208}
    its, fresh = engines(tiny_half, **options), engines(tiny_half, deterministic=True, reuse=False)
    for turn in range(3):
        prompt = text(50, 1) + [9] * turn
        for i in range(4):
            its.add(f"{turn}-{i}", [*prompt, i], sampling)
        its.run()
        for i in range(4):
            expected = fresh.answer([*prompt, i], sampling)
            assert its.answers[f"{turn}-{i}"].token_ids == expected.token_ids
            assert its.answers[f"{turn}-{i}"].began.deterministic
    assert its.answers["2-0"].finished.cached_tokens == 48
