"""Counts what an engine says of one request, as it passes by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from chat.monitoring import registry
from chat.tracing.engine_spans import engine_spans
from inference.types import Began, Delta, EngineEvent, Finished, GenerateRequest, Take

Source = Callable[[GenerateRequest, Take | None], AsyncGenerator[EngineEvent, None]]


async def measured(
    request: GenerateRequest, source: Source, take: Take | None
) -> AsyncGenerator[EngineEvent, None]:
    """The source's events, and its deltas to `take` if there is one. Closing it closes them."""
    meter, spans = _Meter(request), engine_spans(request)

    def see(event: EngineEvent) -> None:
        meter.take(event)
        if spans is not None:
            spans.take(event)

    def passed(delta: Delta) -> None:
        assert take is not None
        see(delta)
        take(delta)

    async with aclosing(source(request, passed if take else None)) as events:
        try:
            async for event in events:
                see(event)
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            meter.end("abort")
            raise
        except Exception:
            meter.end("error")
            raise
        finally:
            if spans is not None:
                spans.end(meter.ended)


class _Meter:
    """Times are those at which the site hears of a token, not those at which it was computed."""

    def __init__(self, request: GenerateRequest) -> None:
        self._model, self._prompt_tokens = request.model, len(request.prompt_ids)
        self._began = self._last = time.monotonic()
        self._tokens = registry.GENERATION_TOKENS.labels(request.model)
        self._between = registry.BETWEEN_TOKENS.labels(request.model)
        self._has_first = False
        self.ended = ""
        """How, once it is over."""

    def take(self, event: EngineEvent) -> None:
        if isinstance(event, Delta):
            self._extend(len(event.token_ids))
        elif isinstance(event, Began):
            registry.PROMPT_TOKENS.labels(self._model).inc(self._prompt_tokens)
        elif isinstance(event, Finished):
            self._finish(event)

    def _extend(self, count: int) -> None:
        if not count:
            return
        now = time.monotonic()
        self._tokens.inc(count)
        if self._has_first:
            # several at once share the time since the last ones
            self._between.observe_each((now - self._last) / count, count)
        else:
            self._has_first = True
            registry.FIRST_TOKEN.labels(self._model).observe(now - self._began)
        self._last = now

    def _finish(self, event: Finished) -> None:
        registry.PREFIX_QUERIES.labels(self._model).inc(event.prompt_tokens)
        registry.PREFIX_HITS.labels(self._model).inc(event.cached_tokens)
        registry.QUEUE_TIME.labels(self._model).observe(event.timings.queue_s)
        registry.REQUEST_TIME.labels(self._model).observe(time.monotonic() - self._began)
        self.end(event.reason)

    def end(self, reason: str) -> None:
        """Once: a reader may leave after the last event."""
        if not self.ended:
            self.ended = reason
            registry.SUCCESSES.labels(self._model, reason).inc()
