"""`manage.py bench throughput`: counts and order of a tiny model's times, on the CPU."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.errors import InvalidParameter, RequestFailed
from inference.options import EngineOptions
from inference.throughput import Work, measure
from tests.tiny_engine import CONTEXT, TinyEngine, engines, poisoned, tiny
from tests.tiny_llama import write_tiny_llama

__all__ = ["engines", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

WORK = Work(requests=7, input_len=20, output_len=5, concurrency=3)


def test_each_request_has_its_times_and_no_more_than_asked_are_in_flight(tiny: Path) -> None:
    its = TinyEngine(tiny, reuse=False, step_tokens=24)  # a prompt a step: they end one by one
    done, seconds = measure(its.engine, WORK.prompts(512), WORK.concurrency)
    assert len(done) == WORK.requests
    for times in done:
        assert (times.prompt_tokens, times.output_tokens) == (20, 5)
        assert 0 <= times.ttft <= times.e2el <= seconds
        assert len(times.arrivals) == 5  # here a frame is a step, and has one token
        assert len(times.itl) == 4
        assert min(times.itl) >= 0
    names = [{name for name, _, _ in step} for step in its.runner.steps]
    assert max(map(len, names)) == WORK.concurrency
    # the next one begins where one has ended, not where all have
    assert any({"0-2", "0-3"} <= step for step in names)


def test_a_request_that_fails_is_no_measurement(tiny: Path) -> None:
    its = TinyEngine(tiny)
    its.runner.fails.append(RuntimeError("broken"))
    with pytest.raises(RequestFailed, match="broken"):
        measure(its.engine, WORK.prompts(512), WORK.concurrency)


def test_prompts_are_random_and_the_same_for_a_seed() -> None:
    prompts = [request.prompt_ids for request in WORK.prompts(512)]
    assert len(set(prompts)) == WORK.requests
    assert prompts == [request.prompt_ids for request in WORK.prompts(512)]
    assert prompts != [request.prompt_ids for request in WORK.prompts(512, seed=1)]
    assert all(0 <= token < 512 for prompt in prompts for token in prompt)


def test_everyone_in_flight_has_a_seat_and_room() -> None:
    options = Work(input_len=20, output_len=13, concurrency=600).options(EngineOptions())
    assert (options.max_batch, options.queue_limit, options.reuse) == (600, 600, False)
    assert options.kv_tokens >= 600 * 48  # three blocks of 16
    assert options.step_tokens > 600


@pytest.mark.parametrize("name", ["requests", "input_len", "output_len", "concurrency"])
def test_work_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{name} = 0"):
        Work(**{name: 0})


@pytest.fixture
def command(settings: Any, tmp_path: Path) -> Iterator[Any]:
    """`command(requests=3)`: bench throughput with a tiny model; returns what it printed."""
    directory = write_tiny_llama(tmp_path / "tiny", context=CONTEXT)
    settings.TINYLLM_DATA_DIR, settings.TINYLLM_DEVICE = tmp_path, "cpu"

    def run(**options: Any) -> str:
        out = StringIO()
        call_command("bench", "throughput", model=str(directory), stdout=out, **options)
        return out.getvalue()

    logger = logging.getLogger("inference")
    level = logger.level
    yield run
    logger.setLevel(level)  # the command makes it quiet


def test_the_command_prints_and_writes(command: Any, tmp_path: Path) -> None:
    printed = command(requests=3, input_len=10, output_len=4, concurrency=2, output=tmp_path)
    assert "tiny on cpu, 2 at a time: 3 done, none failed" in printed
    report = json.loads((tmp_path / "throughput.json").read_text())
    assert (report["prompt_tokens"], report["output_tokens"]) == (30, 12)
    assert (report["model"], report["device"]) == ("tiny", "cpu")
    assert report["work"]["concurrency"] == 2
    assert report["tokens_per_frame"] == 1
    assert report["machine"]["cores"] > 0


def test_the_command_says_what_does_not_fit(command: Any) -> None:
    with pytest.raises(CommandError, match=r"output_len = 120 .* at most 118"):
        command(requests=1, input_len=10, output_len=120)
    with pytest.raises(CommandError, match="requests = 0"):
        command(requests=0)
