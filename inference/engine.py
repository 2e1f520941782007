"""The engine: plan a step, run it, commit what it gave, say what happened.

One engine serves one model's weights. It is driven by one thread and knows nothing of clients:
`step()` returns events by request id."""

from __future__ import annotations

import secrets
import time
from itertools import takewhile

import structlog

from inference import step_names
from inference.client import PromptCodec
from inference.constraints.grammars import Grammars
from inference.drafting import Drafting
from inference.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    DeviceLost,
    EngineError,
    InvalidParameter,
    RequestFailed,
)
from inference.examinations import Examinations
from inference.flight import Active, Beat, Launched, Piece, Tally, is_decode, new_places, statuses
from inference.flight import StepEvents as StepEvents
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.kv_files import ModelFiles
from inference.logprobs import TokenLogprobs
from inference.options import EngineOptions
from inference.request_status import RequestStatus, Totals
from inference.runner import FAILED, Runner, Step
from inference.scheduler import Chunk, Scheduler
from inference.sequence import Sequence
from inference.session_cache import SessionCache
from inference.types import (
    Began,
    EngineSetup,
    Finished,
    FinishReason,
    GenerateRequest,
    PromptProgress,
)

log = structlog.get_logger(__name__)


class Engine:
    def __init__(
        self,
        runner: Runner,
        codec: PromptCodec,
        options: EngineOptions,
        files: ModelFiles | None = None,
    ) -> None:
        """files: where texts of sessions are kept between starts, if anywhere."""
        self._runner, self._codec = runner, codec
        dtype = str(runner.dtype).removeprefix("torch.")
        self.setup = EngineSetup(runner.device, options.backend, dtype, options.compute)
        self._began = Began(self.setup, options.deterministic)
        self.cache = KVCache(runner.blocks, reuse=options.reuse)
        self.sessions = SessionCache(self.cache, runner, files, options.kv_idle_s)
        scheduler = self._scheduler = Scheduler(
            self.cache,
            seats=options.max_batch,
            step_tokens=options.step_tokens,
            queue_limit=options.queue_limit,
        )
        self._drafting = Drafting(runner.draft_cost)
        self.grammars = Grammars(codec, runner.config.vocab_size)
        self.examinations = Examinations(
            runner, self.cache, lambda: len(scheduler.running), self.grammars
        )
        self._active: dict[str, Active] = {}
        self._of: dict[Sequence, Active] = {}
        self._timed: dict[str, Active] = {}  # who has a deadline
        self._arrivals, self._tally = 0, Tally()
        self._beat, self._is_beat = Beat(options.beat_s), True
        self._under_way: Launched | None = None

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle and not self.examinations

    @property
    def in_prefill(self) -> bool:
        """Whether a prompt is still being read, or waits to be."""
        return self._scheduler.in_prefill

    def look(self) -> tuple[tuple[RequestStatus, ...], Totals]:
        """Those that run, then those that wait, each in their order; and all that was done."""
        its = self._scheduler
        requests = statuses([self._of[s] for s in (*its.running, *its.waiting)], len(its.running))
        return requests, self._tally.with_those(self._of, its.preemptions)

    def close(self) -> None:
        """Give back the memory of weights and cache. It may only be idle, and is of no more use."""
        self.grammars.close()
        self._runner.close()

    def add(self, request: GenerateRequest, arrived: float | None = None) -> None:
        """Queue a request. arrived: since when it waits, on the monotonic clock; None: now. Its
        grammar is compiled here where it is not (`grammars`). Raises InvalidParameter,
        InvalidConstraint, ContextLengthExceeded, QueueFull."""
        if request.request_id in self._active:
            raise InvalidParameter("request_id", request.request_id, "unique")
        request.check_vocabulary(self._runner.config.vocab_size)
        limit = min(self._runner.config.context_length, self.cache.total_blocks * BLOCK_SIZE)
        if len(request.prompt_ids) >= limit:
            raise ContextLengthExceeded(len(request.prompt_ids), limit)
        if request.sampling.max_tokens is not None:
            limit = min(limit, len(request.prompt_ids) + request.sampling.max_tokens)
        seed = secrets.randbits(32) if request.sampling.seed is None else request.sampling.seed
        self._arrivals += 1
        sequence = Sequence(request, limit, self._arrivals, seed)
        answered = sequence.tokens[sequence.answer_start :]
        sequence.matcher = self.grammars.matcher(request.sampling.constraint, answered)
        active = Active.of(sequence, self._codec, arrived)
        # last, so that a request that is refused leaves nothing behind
        self._scheduler.add(sequence)
        self._active[request.request_id] = self._of[sequence] = active
        if request.deadline_s is not None:
            self._timed[request.request_id] = active
        self.sessions.enter(sequence)
        length = sequence.prompt_length
        log.info("request.queued", request_id=request.request_id, prompt_tokens=length)

    def cancel(self, request_id: str) -> None:
        """Drop a request and free its cache blocks. Unknown or finished ones are ignored."""
        active = self._active.get(request_id)
        if active:
            self._forget(active)
            written = active.sequence.output_length
            log.info("request.cancelled", request_id=request_id, output_tokens=written)

    def step(self) -> StepEvents:
        """Launch one forward pass over every running request, and return the events that it
        caused; where the runner works ahead, those of the pass before. Raises DeviceLost: this
        engine is of no more use then."""
        events = self._end_late()
        self._is_beat = self._beat.comes()
        self.sessions.load()
        chunks = self._drafting.drafted(self._scheduler.plan())
        aside = [self._of[sequence] for sequence in self._scheduler.put_aside]
        for active in aside:
            self._runner.release(active.sequence)
            log.info("request.put_aside", request_id=active.request_id)
        events += new_places([self._of[s] for s in self._scheduler.waiting])
        launched = self._launch(chunks, events) if chunks else None
        if not chunks:
            self.sessions.wait()
        if self._runner.steps_ahead:
            launched, self._under_way = self._under_way, launched
        if launched:
            events += self._commit(launched)
        for active in aside:  # also the token that was under way
            events += active.rest()
        if self._scheduler.is_idle:
            self._under_way = None  # nobody waits for it any more
        return events

    def _launch(self, chunks: tuple[Chunk, ...], events: StepEvents) -> Launched | None:
        decodes = tuple(takewhile(is_decode, chunks))
        of, pieces, tokens = self._of, [], len(decodes)
        for chunk in chunks[len(decodes) :]:
            pieces.append(Piece.of(of[chunk.sequence], chunk, tokens))
            tokens += chunk.rows
        try:
            step = step_names.launch(self._runner, chunks)
        except Exception as error:
            log.exception("step.failed", requests=[c.sequence.request.request_id for c in chunks])
            for chunk in chunks:
                events += self._fail(of[chunk.sequence], error)
            return None
        for chunk in chunks:
            chunk.sequence.launched(chunk.length, chunk.draft)
        return Launched(step, tuple([of[chunk.sequence] for chunk in decodes]), tuple(pieces))

    def _commit(self, launched: Launched) -> StepEvents:
        """Record what a step has computed, but for requests that are over since."""
        events: StepEvents = []
        step = launched.step
        for index, active in enumerate(launched.decodes):
            if not active.over:
                self._extend(active, step, index, events)
        for piece in launched.pieces:
            if piece.active.over:
                continue
            sequence = piece.active.sequence
            if piece.is_partial:
                done = min(piece.done, sequence.prompt_length)
                events.append(
                    (piece.active.request_id, PromptProgress(done, sequence.prompt_length))
                )
            if piece.index is None:
                self.cache.publish(sequence)
            else:
                self._extend_by_draft(piece.active, step, piece.index, events)
        return events

    def _extend_by_draft(self, active: Active, step: Step, first: int, events: StepEvents) -> None:
        """Append what was sampled as long as it is what was guessed, and one more."""
        for index, guess in enumerate(active.take_draft(), start=first):
            self._extend(active, step, index, events)
            if active.over or active.sequence.tokens[-1] != guess:
                return
            active.accept()

    def _extend(self, active: Active, step: Step, index: int, events: StepEvents) -> None:
        """Append a sampled token, and say so; end the request when it is complete."""
        try:
            token = step.token(index)
            if token == FAILED:
                raise active.failure()
            asked = active.sequence.request.logprobs is not None
            told = (step.logprobs(index, token),) if asked else ()
            self._append(active, token, told, events)
        except Exception as error:
            log.exception("request.failed", request_id=active.request_id)
            events += self._fail(active, error)

    def _append(
        self, active: Active, token: int, told: tuple[TokenLogprobs, ...], events: StepEvents
    ) -> None:
        """This is done for hundreds in every step, while the device computes the next one: it has
        to be over before that is."""
        sequence, detokenizer = active.sequence, active.detokenizer
        self.cache.publish(sequence)
        is_first = not active.first_token
        if is_first:
            active.first_token = time.monotonic()
            events.append((active.request_id, self._began))
        sequence.extend(token)
        ended = token in active.ends
        matcher = sequence.matcher
        if matcher:
            matcher.take(token)
        text = "" if ended else detokenizer.push(token)
        reason: FinishReason | None = None
        if ended or detokenizer.stop_string is not None or (matcher and matcher.is_over):
            reason = "stop"
        elif sequence.is_complete:
            reason = "length"
        if reason:
            text += detokenizer.finish()
        active.text_length += len(text)
        # a token that ends the answer has no text of its own: it stands behind all of it
        offset = active.text_length if ended else detokenizer.offset
        active.unsaid.add(text, token, offset, told)
        if self._is_beat or is_first or reason:
            events.append((active.request_id, active.unsaid.taken()))
        if reason:
            events.append((active.request_id, self._finish(active, reason)))

    def _finish(self, active: Active, reason: FinishReason) -> Finished:
        self._forget(active)
        finished = active.finished(reason)
        name, tokens = active.request_id, finished.output_tokens
        log.info("request.finished", request_id=name, reason=reason, output_tokens=tokens)
        return finished

    def _end_late(self) -> StepEvents:
        """Those whose time is over, waiting or running: what they computed is as good as ever."""
        if not self._timed:
            return []
        now, events = time.monotonic(), StepEvents()
        for active in [active for active in self._timed.values() if active.is_late(now)]:
            seconds = active.sequence.request.deadline_s
            assert seconds is not None
            self._forget(active)
            late_ms = 1e3 * (now - active.arrived - seconds)
            log.info("request.late", request_id=active.request_id, cancel_latency_ms=late_ms)
            events += [*active.rest(), (active.request_id, DeadlineExceeded(seconds))]
        return events

    def _fail(self, active: Active, error: Exception) -> StepEvents:
        if isinstance(error, DeviceLost):
            raise error  # more than this request is lost
        request_id = active.request_id
        self._forget(active, spoilt=True)
        if not isinstance(error, EngineError):
            message = f"The engine failed while computing: {error}"
            error = RequestFailed(message, request_id=request_id)
        return [*active.rest(), (request_id, error)]

    def _forget(self, active: Active, *, spoilt: bool = False) -> None:
        """Its blocks may be written once more by a step that is under way; whoever gets them next
        is computed after that."""
        active.over = True
        self._tally.add(active.sequence)
        del self._active[active.request_id], self._of[active.sequence]
        self._timed.pop(active.request_id, None)
        self._scheduler.remove(active.sequence, spoilt=spoilt)
        self._runner.release(active.sequence)
        self.sessions.leave(active.sequence, spoilt=spoilt)
