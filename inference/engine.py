"""The engine: plan a step, run it, commit what it gave, say what happened.

One engine serves one model's weights. It is driven by one thread and knows nothing of clients:
`step()` returns events by request id.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import structlog

from inference.client import PromptCodec
from inference.detokenizer import Detokenizer
from inference.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    DeviceLost,
    EngineError,
    InvalidParameter,
    RequestFailed,
)
from inference.flight import Active, Launched, Piece
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.options import EngineOptions
from inference.runner import FAILED, Runner, Step
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


class Engine:
    def __init__(self, runner: Runner, codec: PromptCodec, options: EngineOptions) -> None:
        self._runner, self._codec = runner, codec
        self._deterministic = options.deterministic
        self.cache = KVCache(runner.blocks, reuse=options.reuse)
        self._scheduler = Scheduler(
            self.cache,
            seats=options.max_batch,
            step_tokens=options.step_tokens,
            queue_limit=options.queue_limit,
        )
        self._active: dict[str, Active] = {}
        self._arrivals = 0
        self._under_way: Launched | None = None

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
        self._active[request.request_id] = Active(sequence, detokenizer)
        log.info(
            "request.queued", request_id=request.request_id, prompt_tokens=sequence.prompt_length
        )

    def cancel(self, request_id: str) -> None:
        """Drop a request and free its cache blocks. Unknown or finished ones are ignored."""
        active = self._active.get(request_id)
        if active:
            self._forget(active)
            log.info(
                "request.cancelled",
                request_id=request_id,
                output_tokens=active.sequence.output_length,
            )

    def step(self) -> StepEvents:
        """Launch one forward pass over every running request, and return the events that it
        caused; where the runner works ahead, those of the pass before. Raises DeviceLost: this
        engine is of no more use then."""
        events = self._end_late()
        chunks = self._scheduler.plan()
        for sequence in self._scheduler.put_aside:
            self._runner.release(sequence)
            log.info("request.put_aside", request_id=sequence.request.request_id)
        events += self._queue_positions()
        launched = self._launch(chunks, events) if chunks else None
        if self._runner.steps_ahead:
            launched, self._under_way = self._under_way, launched
        if launched:
            for piece in launched.pieces:
                events += self._commit(piece, launched.step)
        if self._scheduler.is_idle:
            self._under_way = None  # nobody waits for it any more
        return events

    def _launch(self, chunks: tuple[Chunk, ...], events: StepEvents) -> Launched | None:
        now = time.monotonic()
        for chunk in chunks:
            active = self._of(chunk)
            active.started = active.started or now
        try:
            step = self._runner.launch(chunks)
        except Exception as error:
            log.exception("step.failed", requests=[c.sequence.request.request_id for c in chunks])
            events += [self._fail(self._of(chunk), error) for chunk in chunks]
            return None
        pieces, tokens = [], 0
        for chunk in chunks:
            sequence, completes = chunk.sequence, chunk.completes
            new = sequence.prompt_length - sequence.cached
            is_partial = sequence.in_prefill and chunk.length < new
            sequence.launched(chunk.length)
            index = tokens if completes else None
            tokens += completes
            pieces.append(Piece(self._of(chunk), sequence.computed, index, is_partial))
        return Launched(step, pieces)

    def _commit(self, piece: Piece, step: Step) -> StepEvents:
        """Record a chunk that was computed, unless its request is over since."""
        sequence = piece.active.sequence
        request_id = sequence.request.request_id
        if self._active.get(request_id) is not piece.active:
            return []
        events: StepEvents = []
        if piece.is_partial:
            done = min(piece.done, sequence.prompt_length)
            events.append((request_id, PromptProgress(done, sequence.prompt_length)))
        if piece.index is None:
            self.cache.publish(sequence)
            return events
        try:
            token = step.token(piece.index)
            if token != FAILED:
                self.cache.publish(sequence)
            events += [(request_id, event) for event in self._extend(piece.active, token)]
        except Exception as error:
            log.exception("request.failed", request_id=request_id)
            events.append(self._fail(piece.active, error))
        return events

    def _extend(self, active: Active, token: int) -> list[EngineEvent]:
        """Append a sampled token, and say so; end the request when it is complete."""
        sequence, sampling = active.sequence, active.sequence.request.sampling
        if token == FAILED:
            raise RequestFailed(
                "The model's numbers overflowed; the answer cannot go on.",
                request_id=sequence.request.request_id,
            )
        active.first_token = active.first_token or time.monotonic()
        sequence.extend(token)
        ended = token in sampling.stop_token_ids or (
            token in self._codec.eos_ids and not sampling.ignore_eos
        )
        text = "" if ended else active.detokenizer.push(token)
        reason: FinishReason | None = None
        if ended or active.detokenizer.stop_string is not None:
            reason = "stop"
        elif sequence.is_complete:
            reason = "length"
        if reason:
            text += active.detokenizer.finish()
        active.text_length += len(text)
        # a token that ends the answer has no text of its own: it stands behind all of it
        last = sequence.output_length - 1
        offset = active.text_length if ended else active.detokenizer.offset_of(last)
        delta = Delta(text, (token,), (offset,))
        return [delta, self._finish(active, reason)] if reason else [delta]

    def _finish(self, active: Active, reason: FinishReason) -> Finished:
        sequence, now = active.sequence, time.monotonic()
        self._forget(active)
        finished = Finished(
            reason=reason,
            prompt_tokens=sequence.prompt_length,
            output_tokens=sequence.output_length,
            cached_tokens=sequence.cached,
            seed=sequence.seed,
            timings=Timings(
                queue_s=active.started - active.arrived,
                prefill_s=active.first_token - active.started,
                decode_s=now - active.first_token,
            ),
            stop_string=active.detokenizer.stop_string,
            deterministic=self._deterministic,
        )
        log.info(
            "request.finished",
            request_id=sequence.request.request_id,
            reason=reason,
            output_tokens=finished.output_tokens,
        )
        return finished

    def _end_late(self) -> StepEvents:
        """Those whose time is over, waiting or running: what they have computed is as good as
        ever."""
        now, events = time.monotonic(), StepEvents()
        for active in list(self._active.values()):
            seconds = active.sequence.request.deadline_s
            if seconds is not None and now - active.arrived > seconds:
                self._forget(active)
                request_id = active.sequence.request.request_id
                log.info("request.late", request_id=request_id, seconds=seconds)
                events.append((request_id, DeadlineExceeded(seconds)))
        return events

    def _fail(self, active: Active, error: Exception) -> tuple[str, EngineError]:
        if isinstance(error, DeviceLost):
            raise error  # more than this request is lost
        request_id = active.sequence.request.request_id
        self._forget(active, spoilt=True)
        if not isinstance(error, EngineError):
            message = f"The engine failed while computing: {error}"
            error = RequestFailed(message, request_id=request_id)
        return request_id, error

    def _forget(self, active: Active, *, spoilt: bool = False) -> None:
        """Its blocks may be written once more by a step that is under way; whoever gets them next
        is computed after that."""
        del self._active[active.sequence.request.request_id]
        self._scheduler.remove(active.sequence, spoilt=spoilt)
        self._runner.release(active.sequence)

    def _queue_positions(self) -> StepEvents:
        """An event for each waiting request whose place in the queue has changed."""
        events: StepEvents = []
        for position, sequence in enumerate(self._scheduler.waiting, start=1):
            active = self._active[sequence.request.request_id]
            began = sequence.output_length > 0  # put aside: it goes on by itself
            if active.position != position and not began:
                active.position = position
                events.append((sequence.request.request_id, Queued(position)))
        return events

    def _of(self, chunk: Chunk) -> Active:
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
