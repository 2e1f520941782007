"""A request whose numbers overflow, a step that fails: they are told, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference.errors import EngineError, RequestFailed
from inference.types import SamplingParams
from tests.tiny_engine import CONTEXT, GREEDY, TinyEngine, engines, poisoned, tiny
from tests.tiny_llama import write_tensors, write_tiny_llama

__all__ = ["engines", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]

BROKEN = 400  # the token whose embedding is broken in `broken`
GOOD, BAD = [7, 8, 9, 10], [7, BROKEN, 9, 10]


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["nan", "inf"])
def broken(request: pytest.FixtureRequest, tmp_path: Path, dtype: str) -> Path:
    """A model that overflows on the token BROKEN only."""
    directory = write_tiny_llama(tmp_path / "broken", tied=False, dtype=dtype, context=CONTEXT)
    tensors = load_file(directory / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["model.embed_tokens.weight"][BROKEN] = float(request.param)
    write_tensors(directory, tensors)
    return directory


def test_a_request_whose_numbers_overflow_fails_alone(engines: Engines, broken: Path) -> None:
    its, sound = engines(broken), engines(broken)
    its.add("before", GOOD)
    its.step()
    for name, prompt in (("bad", BAD), ("beside", GOOD)):
        its.add(name, prompt)
    its.run()
    error = its.answers["bad"].error
    assert isinstance(error, RequestFailed)
    assert "overflowed" in error.message
    assert error.fields == {"request_id": "bad"}
    assert its.answers["bad"].token_ids == []
    expected = sound.answer(GOOD).token_ids
    assert its.answers["before"].token_ids == its.answers["beside"].token_ids == expected


def test_nan_that_a_request_left_in_the_cache_harms_nobody(engines: Engines, broken: Path) -> None:
    """Every block is used again."""
    its, sound = engines(broken, kv_tokens=CONTEXT, max_batch=1), engines(broken)
    its.add("bad", [BROKEN] * (CONTEXT - 1))
    its.run()
    assert isinstance(its.answers["bad"].error, RequestFailed)
    after = its.answer(GOOD, SamplingParams(temperature=0, max_tokens=100, ignore_eos=True))
    expected = sound.answer(GOOD, SamplingParams(temperature=0, max_tokens=100, ignore_eos=True))
    assert after.token_ids == expected.token_ids


def test_an_answer_that_overflows_in_the_middle_keeps_its_beginning(
    engines: Engines, broken: Path
) -> None:
    its = engines(broken)
    its.runner.says["a"] = [20, 21, BROKEN]
    its.add("a", GOOD)
    its.run()
    answer = its.answers["a"]
    assert answer.token_ids == [20, 21, BROKEN]
    assert isinstance(answer.error, RequestFailed)


def test_a_model_of_nothing_but_nan_fails_every_request_and_lives(
    engines: Engines, tmp_path: Path, dtype: str
) -> None:
    directory = write_tiny_llama(tmp_path / "nan", dtype=dtype, context=CONTEXT)
    tensors = load_file(directory / "model.safetensors")
    write_tensors(directory, {n: torch.full_like(t, torch.nan) for n, t in tensors.items()})
    its = engines(directory)
    for round in range(2):
        for name in "ab":
            its.add(f"{name}{round}", GOOD)
        its.run()
    assert all(isinstance(answer.error, RequestFailed) for answer in its.answers.values())
    assert its.engine.is_idle


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), MemoryError("out of memory")])
def test_a_step_that_fails_fails_its_requests_and_no_others(
    engines: Engines, error: Exception
) -> None:
    its = engines(max_batch=2)
    for name in ("prefill", "decode", "waiting"):
        its.add(name, GOOD)
    its.step()
    its.runner.fails.append(error)
    its.step()
    for name in ("prefill", "decode"):
        failed = its.answers[name].error
        assert isinstance(failed, RequestFailed)
        assert failed.fields == {"request_id": name}
        assert str(error) in failed.message
        assert failed.retryable
    assert its.engine.cache.free_blocks == its.engine.cache.total_blocks
    its.run()
    expected = engines().answer(GOOD).token_ids
    assert its.answers["waiting"].token_ids == expected
    assert its.answer(GOOD).token_ids == expected


def test_an_error_of_ours_is_told_as_it_is(engines: Engines) -> None:
    its = engines()
    error = EngineError("something of ours")
    its.add("a", GOOD)
    its.runner.fails.append(error)
    its.run()
    assert its.answers["a"].error is error


def test_text_that_cannot_be_made_fails_its_request_alone(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = engines()
    its.runner.says = {"bad": [20, BROKEN]}
    decode = its.codec.decode

    def fragile(ids: list[int]) -> str:
        if BROKEN in ids:
            raise UnicodeError("no such text")
        return decode(ids)

    monkeypatch.setattr(its.codec, "token_bytes", None)
    monkeypatch.setattr(its.codec, "decode", fragile)
    for name in ("bad", "good"):
        its.add(name, GOOD)
    its.run()
    assert isinstance(its.answers["bad"].error, RequestFailed)
    assert its.answers["bad"].token_ids == [20]
    assert its.answers["good"].finished.output_tokens == GREEDY.max_tokens


def test_a_step_with_nothing_to_do_does_nothing(engines: Engines) -> None:
    its = engines()
    assert its.step() == []
    assert its.runner.steps == []
