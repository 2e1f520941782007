"""A request whose time is over is ended wherever it is, and what it said is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chat.database import in_database
from chat.models import Generation, Message
from inference import engine as engine_module
from inference.errors import DeadlineExceeded, InvalidParameter
from inference.types import GenerateRequest, SamplingParams
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.tiny_engine import TinyEngine, engines, poisoned, tiny

__all__ = ["engines", "poisoned", "tiny"]

LONG = SamplingParams(temperature=0, max_tokens=100, ignore_eos=True)


class Clock:
    """In place of `time`, as the engine asks it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(engine_module, "time", clock)
    return clock


@pytest.mark.real_engine
def test_one_that_answers_and_one_that_waits(
    engines: Callable[..., TinyEngine], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = engines(max_batch=1)
    for name, seconds in (("answers", 5.0), ("waits", 3.0), ("patient", None)):
        its.add(name, [7, 8, 9], LONG, deadline_s=seconds)
        # a dataclass has bound the real clock
        its.engine._active[name].arrived = clock.now
    for _ in range(4):
        its.step()
    clock.now += 4
    its.step()
    assert isinstance(its.answers["waits"].error, DeadlineExceeded)
    assert its.answers["waits"].token_ids == []
    clock.now += 2
    its.step()
    late = its.answers["answers"]
    assert (late.error.code, late.error.fields) == ("deadline_exceeded", {"seconds": 5.0})
    assert "5 s" in late.error.message
    assert len(late.token_ids) == 5
    its.run()
    assert its.answers["patient"].finished.output_tokens == 100
    assert late.token_ids == its.answers["patient"].token_ids[:5]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "soon"])
def test_a_time_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidParameter, match="deadline_s"):
        GenerateRequest("a", "m", (1,), deadline_s=seconds)


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_the_site_gives_each_answer_its_time_and_keeps_what_came(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_DEADLINE_S = 7
    site.script = lambda request: ["Half an ", DeadlineExceeded(7)]
    async with Page() as page:
        await page.submit("Hello")
        end = await page.until("message.end")
    assert site.requests[0].deadline_s == 7
    assert (end["status"], end["error"]["code"]) == ("FAILED", "deadline_exceeded")
    assert await in_database(Generation.objects.get) is not None
    answer = await in_database(lambda: Message.objects.order_by("created_at").last())
    assert answer is not None
    assert answer.content == "Half an "
    settings.TINYLLM_DEADLINE_S = 0
    async with Page() as page:
        await page.submit("Hello")
        await page.until("message.end")
    assert site.requests[1].deadline_s is None
