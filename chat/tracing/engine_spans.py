"""One request to the engine as spans: waiting, the pieces of its prompt, its first steps one by
one, and the rest of its answer as one. Lengths are the engine's own where it says them at the end;
the pieces lie where the site heard of them."""

from __future__ import annotations

import time
from itertools import pairwise

from chat.tracing.recorder import Trace, keep
from inference.types import Began, Delta, EngineEvent, Finished, GenerateRequest, PromptProgress

SINGLE_STEPS = 4
MOST_PIECES = 32


class EngineSpans:
    def __init__(self, trace: Trace, request: GenerateRequest) -> None:
        self._trace, self._request = trace, request
        self._track = f"engine {request.request_id}"
        self._asked = time.monotonic()
        self._pieces: list[tuple[float, int]] = []
        self._steps: list[tuple[float, int]] = []
        self._began = 0.0
        self._is_over = False

    def take(self, event: EngineEvent) -> None:
        if isinstance(event, Delta):
            if len(self._steps) < SINGLE_STEPS and event.token_ids:
                self._steps.append((time.monotonic(), len(event.token_ids)))
        elif isinstance(event, PromptProgress):
            if len(self._pieces) < MOST_PIECES:
                self._pieces.append((time.monotonic(), event.done))
        elif isinstance(event, Began):
            self._began = time.monotonic()
        elif isinstance(event, Finished):
            self._finish(event)

    def end(self, reason: str) -> None:
        """Without a `Finished`."""
        if self._is_over:
            return
        now = time.monotonic()
        self._whole(now, reason=reason)
        read = self._pieces[0][0] if self._pieces else self._began
        self._add("queue", self._asked, read or now)
        if self._pieces:
            self._prefill(read, self._began or now)
        if self._began:
            self._decode(self._began, now, None)

    def _finish(self, event: Finished) -> None:
        its, now = event.timings, time.monotonic()
        numbers = {
            "prompt_tokens": event.prompt_tokens,
            "cached_tokens": event.cached_tokens,
            "output_tokens": event.output_tokens,
        }
        if event.drafted_tokens:
            numbers["drafted_tokens"] = event.drafted_tokens
            numbers["accepted_tokens"] = event.accepted_tokens
        # the site hears of the end a moment after it
        read = min(self._asked + its.queue_s, now)
        first = min(read + its.prefill_s, now)
        self._whole(now, reason=event.reason, **numbers)
        self._add("queue", self._asked, read)
        self._prefill(read, first)
        self._decode(first, min(first + its.decode_s, now), event.output_tokens)

    def _whole(self, now: float, **attributes: object) -> None:
        self._is_over = True
        its = {"request_id": self._request.request_id, "model": self._request.model}
        self._add("engine", self._asked, now, **its, **attributes)

    def _prefill(self, start: float, end: float) -> None:
        self._add("prefill", start, end)
        inside = [(at, done) for at, done in self._pieces if start < at < end]
        for (since, before), (at, done) in pairwise([(start, 0), *inside]):
            self._add("prefill chunk", since, at, done=done, tokens=done - before)
        if inside:
            self._add("prefill chunk", inside[-1][0], end)

    def _decode(self, start: float, end: float, tokens: int | None) -> None:
        said = {} if tokens is None else {"tokens": tokens}
        self._add("decode", start, end, **said)
        heard = [(at, count) for at, count in self._steps[1:] if start < at < end]
        for (since, _), (at, count) in pairwise([(start, 0), *heard]):
            self._add("decode step", since, at, tokens=count)

    def _add(self, name: str, start: float, end: float, **attributes: object) -> None:
        self._trace.add(name, start, max(start, end), self._track, **attributes)


def engine_spans(request: GenerateRequest) -> EngineSpans | None:
    """For this context's trace, which is kept from now on; None where there is none."""
    trace = keep()
    return None if trace is None else EngineSpans(trace, request)
