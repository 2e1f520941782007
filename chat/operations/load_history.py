"""What the engine did in the last minutes, for charts: a sample every few seconds, in memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from chat import engine
from inference.errors import EngineError
from inference.types import EngineStatus, Totals

EVERY_S = 5.0
KEPT = 121
"""Samples: ten minutes and the one before."""


@dataclass(frozen=True, slots=True)
class Sample:
    """at: on the monotonic clock. Rates are per second, since the sample before."""

    at: float
    running: int
    waiting: int
    prompt_rate: float
    output_rate: float
    requests_rate: float


class LoadHistory:
    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._before: tuple[float, dict[tuple[str, ...], Totals]] | None = None

    def add(self, status: EngineStatus, now: float) -> None:
        totals = {model.names: model.totals for model in status.models}
        then, earlier = self._before or (now, totals)
        self._before = (now, totals)
        passed = now - then
        done = [_since(earlier.get(names, Totals()), total) for names, total in totals.items()]

        def rate(name: str) -> float:
            return sum(getattr(each, name) for each in done) / passed if passed > 0 else 0.0

        self._samples.append(
            Sample(
                at=now,
                running=sum(model.running for model in status.models),
                waiting=sum(model.waiting for model in status.models),
                prompt_rate=rate("prompt_tokens"),
                output_rate=rate("output_tokens"),
                requests_rate=rate("requests"),
            )
        )

    def told(self, now: float) -> list[dict[str, Any]]:
        """Oldest first. ago: seconds."""
        return [
            {
                "ago": round(now - each.at, 1),
                "running": each.running,
                "waiting": each.waiting,
                "prompt": round(each.prompt_rate, 2),
                "output": round(each.output_rate, 2),
                "requests": round(each.requests_rate, 3),
            }
            for each in self._samples
        ]


def _since(before: Totals, now: Totals) -> Totals:
    """A model that was unloaded and loaded again counts from zero."""
    return Totals(
        max(0, now.requests - before.requests),
        max(0, now.prompt_tokens - before.prompt_tokens),
        max(0, now.output_tokens - before.output_tokens),
    )


history = LoadHistory()
"""Of this process."""


async def keep_sampling() -> None:
    """As long as the server runs. An engine that is being started again leaves a gap."""
    while True:
        with contextlib.suppress(EngineError):
            history.add(await engine.client().status(), time.monotonic())
        await asyncio.sleep(EVERY_S)
