"""What an engine has in flight: requests, and steps that were launched."""

from __future__ import annotations

import time
from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field, replace

from inference.client import PromptCodec
from inference.detokenizer import Detokenizer
from inference.errors import EngineError, RequestFailed
from inference.logprobs import TokenLogprobs
from inference.request_status import RequestStatus, Totals
from inference.runner import Step
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import (
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    GenerateRequest,
    Queued,
    Timings,
)

StepEvents = list[tuple[str, EngineEvent | EngineError]]
"""Each with its request's id."""


class Beat:
    """When readers are told of what their answers said: as late as they can be, and no more than so
    many seconds after the last time, if steps take as long as they do."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last, self._step = seconds, 0.0, 0.0

    def comes(self) -> bool:
        """Whether now, and not with the next step. Asked once in each."""
        now = time.monotonic()
        took, self._step = now - self._step, now
        is_due = now + took - self._last >= self._seconds
        if is_due:
            self._last = now
        return is_due


@dataclass(slots=True)
class Unsaid:
    """Tokens of an answer that its reader is not told of yet, as `Delta` has them."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)

    def add(self, text: str, token: int, offset: int, told: Iterable[TokenLogprobs]) -> None:
        self.text += text
        self.ids.append(token)
        self.offsets.append(offset)
        self.logprobs += told

    def taken(self) -> Delta:
        """All of it, once."""
        delta = Delta(self.text, tuple(self.ids), tuple(self.offsets), tuple(self.logprobs))
        self.text = ""
        self.ids, self.offsets, self.logprobs = [], [], []
        return delta


@dataclass(slots=True, eq=False)
class Active:
    """A request in flight. ends: tokens that end its answer. over: nobody waits for it any more,
    though a step may still compute it. Times are of one monotonic clock, in seconds."""

    request_id: str
    sequence: Sequence
    detokenizer: Detokenizer
    ends: frozenset[int]
    text_length: int = 0
    position: int = 0
    over: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0
    drafted: int = 0
    accepted: int = 0
    unsaid: Unsaid = field(default_factory=Unsaid)

    @classmethod
    def of(cls, sequence: Sequence, codec: PromptCodec, arrived: float | None) -> Active:
        """arrived: since when it waits; None: now."""
        request = sequence.request
        prefix = () if request.answer_start is None else sequence.tokens[sequence.answer_start :]
        detokenizer = Detokenizer(codec.decode, prefix, request.sampling.stop, codec.token_bytes)
        active = cls(request.request_id, sequence, detokenizer, ends_of(request, codec))
        active.arrived = arrived or active.arrived
        return active

    def take_draft(self) -> tuple[int | None, ...]:
        """The guesses that the step has checked, each to be compared with the token that is
        sampled in its place; for the token behind them there is none."""
        draft, self.sequence.draft = self.sequence.draft, ()
        self.drafted += len(draft)
        return (*draft, None)

    def accept(self) -> None:
        """The token that came last was guessed."""
        self.accepted += 1
        self.sequence.accept()

    def rest(self) -> StepEvents:
        """What is still to be said of it, now that nothing follows for a while."""
        return [(self.request_id, self.unsaid.taken())] if self.unsaid.ids else []

    def failure(self) -> RequestFailed:
        """Why no token could be sampled for it."""
        matcher = self.sequence.matcher
        reason = matcher.failure if matcher else ""
        said = reason or "The model's numbers overflowed; the answer cannot go on."
        return RequestFailed(said, request_id=self.request_id)

    def is_late(self, now: float) -> bool:
        seconds = self.sequence.request.deadline_s
        return seconds is not None and now - self.arrived > seconds

    def finished(self, reason: FinishReason) -> Finished:
        """What is said of it now that it has ended."""
        sequence, now = self.sequence, time.monotonic()
        return Finished(
            reason=reason,
            prompt_tokens=sequence.prompt_length,
            output_tokens=sequence.output_length,
            cached_tokens=sequence.cached,
            seed=sequence.seed,
            timings=Timings(
                queue_s=self.started - self.arrived,
                prefill_s=self.first_token - self.started,
                decode_s=now - self.first_token,
            ),
            stop_string=self.detokenizer.stop_string,
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
        )

    def status(self, now: float, *, runs: bool) -> RequestStatus:
        sequence = self.sequence
        written, since = sequence.output_length - 1, now - self.first_token
        return RequestStatus(
            request_id=self.request_id,
            tenant=sequence.request.tenant,
            state="running" if runs else "waiting",
            prompt_tokens=sequence.prompt_length,
            read_tokens=min(sequence.computed, sequence.prompt_length),
            cached_tokens=sequence.cached,
            output_tokens=sequence.output_length,
            age_s=now - self.arrived,
            tokens_per_s=written / since if written > 0 and since > 0 else 0.0,
        )


class Tally:
    """What was done for requests that are over."""

    def __init__(self) -> None:
        self._past = Totals()

    def add(self, sequence: Sequence) -> None:
        self._past = _more(self._past, [sequence], 1)

    def with_those(self, sequences: Iterable[Sequence], preemptions: int) -> Totals:
        """And what has been done so far for those that are not."""
        return replace(_more(self._past, sequences, 0), preemptions=preemptions)


def _more(totals: Totals, sequences: Iterable[Sequence], over: int) -> Totals:
    requests, prompt, output = totals.requests, totals.prompt_tokens, totals.output_tokens
    for sequence in sequences:
        requests += over
        prompt += max(0, min(sequence.computed, sequence.prompt_length) - sequence.cached)
        output += sequence.output_length
    return Totals(requests, prompt, output)


def statuses(actives: Ordered[Active], running: int) -> tuple[RequestStatus, ...]:
    """running: how many of them run; they stand first."""
    now = time.monotonic()
    return tuple(a.status(now, runs=place < running) for place, a in enumerate(actives))


def new_places(waiting: Ordered[Active]) -> StepEvents:
    """An event for each one whose place in the queue has changed."""
    events: StepEvents = []
    for position, active in enumerate(waiting, start=1):
        began = active.sequence.output_length > 0  # put aside: it goes on by itself
        if active.position != position and not began:
            active.position = position
            events.append((active.request_id, Queued(position)))
    return events


@dataclass(frozen=True, slots=True)
class Piece:
    """Of a prompt, or a draft, launched. done: tokens of its sequence in the cache once it has run.
    index: which of the step's tokens is its own, the first of them, None if the prompt goes on."""

    active: Active
    done: int
    index: int | None
    is_partial: bool

    @classmethod
    def of(cls, active: Active, chunk: Chunk, index: int) -> Piece:
        """About to be computed. index: of its first token, should it have one."""
        sequence = chunk.sequence
        active.started = active.started or time.monotonic()
        is_partial = not chunk.draft and chunk.length < sequence.prompt_length - sequence.cached
        done = sequence.computed + chunk.length
        return cls(active, done, index if chunk.completes else None, is_partial)


@dataclass(frozen=True, slots=True)
class Launched:
    """A step. decodes: whose next tokens it computes, in the order of its tokens; pieces: drafts
    that it checks, and then prompts that it reads."""

    step: Step
    decodes: tuple[Active, ...]
    pieces: tuple[Piece, ...]


def ends_of(request: GenerateRequest, codec: PromptCodec) -> frozenset[int]:
    """The tokens that end its answer."""
    sampling = request.sampling
    eos_ids = frozenset() if sampling.ignore_eos else codec.eos_ids
    return eos_ids.union(sampling.stop_token_ids)


def is_decode(chunk: Chunk) -> bool:
    """One token, without a draft, of a sequence that answers."""
    return chunk.sequence.computed >= chunk.sequence.to_read and not chunk.draft
