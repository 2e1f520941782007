"""A request's id on its way down: to the step's line in the log and to the ranges of profilers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from inference import step_names
from inference.step_names import SHOWN, range_name
from tests.tiny_engine import TinyEngine, byte_ids, engines, poisoned, tiny

__all__ = ["engines", "poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

_LOGGER = "inference.step_names"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the module logs, whatever level other tests of this process have left the log at."""
    told: list[dict[str, Any]] = []

    class Log:
        def debug(self, event: str, **fields: Any) -> None:
            told.append({"event": event, **fields})

    monkeypatch.setattr(step_names, "log", Log())
    return told


def run(engine: TinyEngine, *names: str) -> None:
    for name in names:
        engine.add(name, byte_ids("Once"))
    engine.run()


def test_a_step_names_its_requests_where_somebody_looks(
    engines: Any, caplog: pytest.LogCaptureFixture, lines: list[dict[str, Any]]
) -> None:
    engine = engines()
    on_cpu = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with caplog.at_level(logging.DEBUG, logger=_LOGGER), on_cpu as profile:
        run(engine, "first-id", "second-id")
    steps = [line for line in lines if line["event"] == "engine.step"]
    assert steps[0]["requests"] == ["first-id", "second-id"]
    assert steps[0]["tokens"] == 2 * len("Once")
    assert {"first-id", "second-id"} <= {name for step in steps for name in step["requests"]}
    assert any(event.name == "step first-id second-id" for event in profile.events())


def test_nothing_is_named_where_nobody_does(engines: Any, lines: list[dict[str, Any]]) -> None:
    assert not logging.getLogger(_LOGGER).isEnabledFor(logging.DEBUG)
    run(engines(), "an-id")
    assert lines == []


def test_a_range_has_a_name_that_can_be_read() -> None:
    names = [str(number) for number in range(SHOWN + 3)]
    assert range_name(names) == "step 0 1 2 3 4 5 6 7 +3"
    assert range_name(["a"]) == "step a"
