"""Answers that are told of in beats: what is said is the same, in fewer events, and nothing is left
unsaid where an answer pauses or breaks off."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from inference import flight
from inference.errors import DeadlineExceeded, InvalidParameter, RequestFailed
from inference.flight import Beat
from inference.options import BEAT_S, EngineOptions, site_options
from inference.types import Began, Delta, Finished, SamplingParams
from tests.tiny_engine import Answer, TinyEngine, byte_ids, engines, poisoned, tiny

__all__ = ["engines", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

WORDS = byte_ids("once upon a time there was a small house by the sea")
PROMPT = byte_ids("go on")


class Drum(Beat):
    """Beats when it is struck, or with every so many steps, in place of a clock."""

    def __init__(self, every: int = 10**9) -> None:
        self._every, self._steps, self.is_struck = every, 0, False

    def comes(self) -> bool:
        self._steps += 1
        struck, self.is_struck = self.is_struck, False
        return struck or self._steps % self._every == 0


def with_drum(its: TinyEngine, drum: Drum | None = None) -> Drum:
    its.engine._beat = drum = drum or Drum()
    return drum


def greedy(count: int, **fields: Any) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, **fields)


def told(answer: Answer) -> tuple[Any, ...]:
    """All that does not depend on how it was cut into events."""
    logprobs = [each for delta in answer.of(Delta) for each in delta.logprobs]
    ends = [(end.reason, end.output_tokens, end.stop_string) for end in answer.of(Finished)]
    return answer.text, answer.token_ids, answer.offsets, logprobs, ends


@pytest.mark.parametrize(
    ("step", "gap"), [(1, 33), (4, 32), (13, 26), (15, 30), (20, 20), (50, 50)]
)
def test_a_beat_comes_with_the_last_step_that_is_in_time(
    monkeypatch: pytest.MonkeyPatch, step: int, gap: int
) -> None:
    """Milliseconds: of a step, and between two beats of at most 33.5."""
    now = [100_000]
    monkeypatch.setattr(flight, "time", SimpleNamespace(monotonic=lambda: now[0]))
    beat, came = Beat(33.5), []
    while now[0] < 101_000:
        if beat.comes():
            came.append(now[0])
        now[0] += step
    assert came[0] == 100_000
    assert {later - earlier for earlier, later in pairwise(came)} == {gap}


def test_where_nothing_is_to_be_waited_for_each_step_is_a_beat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flight, "time", SimpleNamespace(monotonic=lambda: 100.0))
    beat = Beat(0)
    assert all(beat.comes() for _ in range(3))


def test_the_first_comes_at_once_and_the_others_with_the_beat(engines: Engines) -> None:
    its = engines(beat_s=3600.0)
    drum = with_drum(its)
    its.runner.says["a"] = WORDS
    its.add("a", PROMPT, greedy(7))
    answer, said = its.answers["a"], []
    for step in range(7):
        drum.is_struck = step == 3
        before = len(answer.events)
        its.step()
        said.append(answer.events[before:])
    assert [[type(event) for event in events] for events in said] == [
        [Began, Delta], [], [], [Delta], [], [], [Delta, Finished],
    ]  # fmt: skip
    assert [delta.text for delta in answer.of(Delta)] == ["o", "nce", " up"]
    assert [delta.token_ids for delta in answer.of(Delta)] == [
        tuple(WORDS[:1]), tuple(WORDS[1:4]), tuple(WORDS[4:7]),
    ]  # fmt: skip
    assert [delta.offsets for delta in answer.of(Delta)] == [(0,), (1, 2, 3), (4, 5, 6)]


def test_the_option_is_heard(engines: Engines) -> None:
    """Within an hour there is no beat, but perhaps at the first step."""
    answer = engines(beat_s=3600.0).answer(PROMPT, greedy(9))
    assert [len(delta.token_ids) for delta in answer.of(Delta)] == [1, 8]
    assert len(engines().answer(PROMPT, greedy(9)).of(Delta)) == 9


@pytest.mark.parametrize("every", [2, 5, 10**9])
def test_in_beats_as_token_by_token(engines: Engines, every: int) -> None:
    """With stop strings, logprobs and characters of several bytes, in a cache for two of them."""
    asked: list[tuple[list[int], SamplingParams, int | None]] = [
        (WORDS, greedy(40, stop=("small", "xyz")), None),
        (WORDS, greedy(45), 2),
        (byte_ids("你好。再见é!") * 3, greedy(40, stop=("é!你",)), None),
        (WORDS, greedy(45, stop=("houses",)), 0),
        (WORDS, greedy(1), 1),
    ]
    at_once, in_beats = engines(kv_tokens=160), engines(kv_tokens=160, beat_s=3600.0)
    with_drum(in_beats, Drum(every))
    for its in (at_once, in_beats):
        for number, (says, sampling, logprobs) in enumerate(asked):
            its.runner.says[f"{number}"] = says
            its.add(f"{number}", [9] * (20 + number), sampling, logprobs=logprobs)
        its.run()
        assert its.engine.look()[1].preemptions > 0
    for name, answer in at_once.answers.items():
        assert all(len(delta.token_ids) == 1 for delta in answer.of(Delta))
        joined = in_beats.answers[name]
        assert told(joined) == told(answer)
        assert len(joined.of(Delta)) <= len(answer.of(Delta)) / 2 + 2
        assert isinstance(joined.events[-1], Finished)
    assert in_beats.answers["0"].finished.stop_string == "small"
    assert len(told(in_beats.answers["1"])[3]) == 45


def test_who_is_put_aside_has_said_all(engines: Engines) -> None:
    its = engines(kv_tokens=160, beat_s=3600.0)
    with_drum(its)
    for number in range(5):
        its.add(f"{number}", [9] * (20 + number), greedy(60))
    aside = []
    while not its.engine.is_idle:
        its.step()
        for sequence in its.engine._scheduler.put_aside:
            name = sequence.request.request_id
            assert its.answers[name].token_ids == sequence.output_ids
            aside.append(len(sequence.output_ids))
    assert max(aside) > 1, "nobody had anything to say"


def test_who_is_put_aside_says_what_was_under_way_too(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where steps are launched ahead, one more token comes in the step that puts it aside: room is
    gone while the other's last token, and so its blocks, are not known to be free yet."""
    its = engines(kv_tokens=96, beat_s=3600.0)
    with_drum(its)
    for name, count in (("first", 18), ("aside", 30)):
        its.runner.says[name] = WORDS
        its.add(name, [9] * 30, greedy(count))
    for _ in range(17):
        its.step()
    monkeypatch.setattr(its.runner, "steps_ahead", 1)
    its.step()
    its.step()
    (sequence,) = its.engine._scheduler.put_aside
    assert its.answers["first"].finished.output_tokens == 18
    assert its.answers["aside"].token_ids == sequence.output_ids == WORDS[:18]
    monkeypatch.undo()
    its.run()
    assert its.answers["aside"].token_ids == WORDS[:30]


def test_who_is_late_says_what_was_not_said(engines: Engines) -> None:
    its = engines(max_batch=1, beat_s=3600.0)
    with_drum(its)
    its.runner.says["runs"] = WORDS
    for name in ("runs", "waits"):
        its.add(name, PROMPT, greedy(9), deadline_s=60)
    for _ in range(4):
        its.step()
    assert its.answers["runs"].text == "o"
    for active in its.engine._active.values():
        active.arrived -= 100
    its.step()
    answer = its.answers["runs"]
    assert (answer.text, answer.offsets) == ("once", [0, 1, 2, 3])
    assert isinstance(answer.error, DeadlineExceeded)
    assert isinstance(its.answers["waits"].error, DeadlineExceeded)
    assert its.answers["waits"].of(Delta) == [], "there was nothing to say"


def test_who_fails_says_what_was_not_said(engines: Engines) -> None:
    its = engines(beat_s=3600.0)
    with_drum(its)
    its.runner.says["a"] = WORDS
    its.add("a", PROMPT, greedy(9))
    for _ in range(4):
        its.step()
    its.add("new", PROMPT, greedy(9))
    its.runner.fails.append(RuntimeError("the step"))
    its.step()
    assert (its.answers["a"].text, its.answers["a"].token_ids) == ("once", WORDS[:4])
    for name in ("a", "new"):
        assert isinstance(its.answers[name].error, RequestFailed)
    assert its.answers["new"].of(Delta) == []


def test_a_site_s_engine_has_a_beat_and_others_have_none(settings: Any) -> None:
    assert site_options(settings, "cpu").beat_s == BEAT_S > 0
    assert EngineOptions().beat_s == 0
    with pytest.raises(InvalidParameter, match="beat_s"):
        EngineOptions(beat_s=-1)
