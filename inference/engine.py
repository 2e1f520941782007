"""The engine: plan a step, run it, commit what it gave, say what happened.

One engine serves one model's weights. It is driven by one thread and knows nothing of clients:
`step()` returns events by request id.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog

from inference import sampler
from inference.client import PromptCodec
from inference.detokenizer import Detokenizer
from inference.errors import ContextLengthExceeded, EngineError, InvalidParameter, RequestFailed
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.options import EngineOptions
from inference.runner import Array, ModelRunner
from inference.scheduler import Chunk, Scheduler
from inference.sequence import Sequence
from inference.types import (
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    GenerateRequest,
    PromptProgress,
    Queued,
    Timings,
)

log = structlog.get_logger(__name__)

StepEvents = list[tuple[str, EngineEvent | EngineError]]


@dataclass(slots=True)
class _Active:
    """A request in flight. Times are of one monotonic clock, in seconds."""

    sequence: Sequence
    detokenizer: Detokenizer
    text_length: int = 0
    position: int = 0
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0


class Engine:
    def __init__(self, runner: ModelRunner, codec: PromptCodec, options: EngineOptions) -> None:
        self._runner, self._codec = runner, codec
        self.cache = KVCache(runner.blocks)
        self._scheduler = Scheduler(
            self.cache,
            seats=options.max_batch,
            step_tokens=options.step_tokens,
            queue_limit=options.queue_limit,
        )
        self._active: dict[str, _Active] = {}
        self._arrivals = 0

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle

    @property
    def in_prefill(self) -> bool:
        """Whether a prompt is still being read, or waits to be."""
        waiting = self._scheduler.waiting
        return bool(waiting) or any(s.in_prefill for s in self._scheduler.running)

    def add(self, request: GenerateRequest) -> None:
        """Queue a request. Raises InvalidParameter, ContextLengthExceeded, QueueFull."""
        self._check(request)
        limit = min(self._runner.config.context_length, self.cache.total_blocks * BLOCK_SIZE)
        if len(request.prompt_ids) >= limit:
            raise ContextLengthExceeded(len(request.prompt_ids), limit)
        if request.sampling.max_tokens is not None:
            limit = min(limit, len(request.prompt_ids) + request.sampling.max_tokens)
        seed = request.sampling.seed
        self._arrivals += 1
        sequence = Sequence(
            request, limit, self._arrivals, secrets.randbits(32) if seed is None else seed
        )
        begin = request.answer_start
        prefix = () if begin is None else request.prompt_ids[begin:]
        detokenizer = Detokenizer(self._codec.decode, prefix, request.sampling.stop)
        # last, so that a request that is refused leaves nothing behind
        self._scheduler.add(sequence)
        self._active[request.request_id] = _Active(sequence, detokenizer)
        log.info(
            "request.queued", request_id=request.request_id, prompt_tokens=sequence.prompt_length
        )

    def cancel(self, request_id: str) -> None:
        """Drop a request and free its cache blocks. Unknown or finished ones are ignored."""
        active = self._active.pop(request_id, None)
        if active:
            self._scheduler.remove(active.sequence)
            log.info(
                "request.cancelled",
                request_id=request_id,
                output_tokens=active.sequence.output_length,
            )

    def step(self) -> StepEvents:
        """One forward pass over every running request, and the events that it caused."""
        chunks = self._scheduler.plan()
        events: StepEvents = self._queue_positions()
        if not chunks:
            return events
        now = time.monotonic()
        for chunk in chunks:
            active = self._of(chunk)
            active.started = active.started or now
        try:
            logits = self._runner.run(chunks)
        except Exception as error:
            log.exception("step.failed", requests=[c.sequence.request.request_id for c in chunks])
            return events + [self._fail(chunk, error) for chunk in chunks]
        rows = iter(logits)
        for chunk in chunks:
            row = next(rows) if chunk.completes else None
            events += self._commit(chunk, row)
        return events

    def _commit(self, chunk: Chunk, row: Array | None) -> StepEvents:
        """Record a computed chunk; row holds the logits after its last token, if it has them."""
        sequence = chunk.sequence
        whole_prompt = chunk.length == sequence.prompt_length
        was_prefill = sequence.in_prefill and not whole_prompt
        sequence.computed += chunk.length
        request_id = sequence.request.request_id
        events: StepEvents = []
        if was_prefill:
            done = min(sequence.computed, sequence.prompt_length)
            events.append((request_id, PromptProgress(done, sequence.prompt_length)))
        if row is None:
            return events
        try:
            events += [(request_id, event) for event in self._extend(self._of(chunk), row)]
        except Exception as error:
            log.exception("request.failed", request_id=request_id)
            events.append(self._fail(chunk, error))
        return events

    def _extend(self, active: _Active, row: Array) -> list[EngineEvent]:
        """Sample one token, append it, and say so; end the request when it is complete."""
        sequence, sampling = active.sequence, active.sequence.request.sampling
        if not np.isfinite(row.max()):
            raise RequestFailed(
                "The model's numbers overflowed; the answer cannot go on.",
                request_id=sequence.request.request_id,
            )
        token = sampler.sample(
            row,
            sampling,
            prompt=list(sequence.request.prompt_ids),
            output=sequence.output_ids,
            seed=sequence.seed,
        )
        active.first_token = active.first_token or time.monotonic()
        sequence.tokens.append(token)
        ended = token in sampling.stop_token_ids or (
            token in self._codec.eos_ids and not sampling.ignore_eos
        )
        text = "" if ended else active.detokenizer.push(token)
        reason: FinishReason | None = None
        if ended or active.detokenizer.stop_string is not None:
            reason = "stop"
        elif sequence.is_full:
            reason = "length"
        if reason:
            text += active.detokenizer.finish()
        active.text_length += len(text)
        # a token that ends the answer has no text of its own: it stands behind all of it
        last = sequence.output_length - 1
        offset = active.text_length if ended else active.detokenizer.offset_of(last)
        delta = Delta(text, (token,), (offset,))
        return [delta, self._finish(active, reason)] if reason else [delta]

    def _finish(self, active: _Active, reason: FinishReason) -> Finished:
        sequence, now = active.sequence, time.monotonic()
        self._scheduler.remove(sequence)
        del self._active[sequence.request.request_id]
        finished = Finished(
            reason=reason,
            prompt_tokens=sequence.prompt_length,
            output_tokens=sequence.output_length,
            cached_tokens=0,
            seed=sequence.seed,
            timings=Timings(
                queue_s=active.started - active.arrived,
                prefill_s=active.first_token - active.started,
                decode_s=now - active.first_token,
            ),
            stop_string=active.detokenizer.stop_string,
        )
        log.info(
            "request.finished",
            request_id=sequence.request.request_id,
            reason=reason,
            output_tokens=finished.output_tokens,
        )
        return finished

    def _fail(self, chunk: Chunk, error: Exception) -> tuple[str, EngineError]:
        request_id = chunk.sequence.request.request_id
        self._active.pop(request_id)
        self._scheduler.remove(chunk.sequence)
        if not isinstance(error, EngineError):
            message = f"The engine failed while computing: {error}"
            error = RequestFailed(message, request_id=request_id)
        return request_id, error

    def _queue_positions(self) -> StepEvents:
        """An event for each waiting request whose place in the queue has changed."""
        events: StepEvents = []
        for position, sequence in enumerate(self._scheduler.waiting, start=1):
            active = self._active[sequence.request.request_id]
            if active.position != position:
                active.position = position
                events.append((sequence.request.request_id, Queued(position)))
        return events

    def _of(self, chunk: Chunk) -> _Active:
        return self._active[chunk.sequence.request.request_id]

    def _check(self, request: GenerateRequest) -> None:
        vocabulary = self._runner.config.vocab_size
        named = {
            "prompt token": request.prompt_ids,
            "logit_bias token": request.sampling.logit_bias,
            "stop_token_ids": request.sampling.stop_token_ids,
        }
        for param, tokens in named.items():
            for token in tokens:
                if not 0 <= token < vocabulary:
                    raise InvalidParameter(param, token, f"below the vocabulary of {vocabulary}")
        if request.request_id in self._active:
            raise InvalidParameter("request_id", request.request_id, "unique")


def run_to_end(
    engine: Engine, requests: list[GenerateRequest], on_step: Callable[[StepEvents], None]
) -> None:
    """Add the requests and step until all have ended: the whole engine without a thread."""
    for request in requests:
        engine.add(request)
    while not engine.is_idle:
        on_step(engine.step())
