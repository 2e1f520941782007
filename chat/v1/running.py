"""The engine's answers to one call: one, or several to the same prompt, which is read once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from chat import engine, live_settings
from chat.filtering.stream import AnswerRefused, allowed
from chat.middleware import request_id as new_request_id
from chat.tracing.recorder import finish
from chat.unwritten import held_places, paid, reserved
from chat.user_keys import parsed
from inference.errors import DeadlineExceeded
from inference.types import (
    MAX_SEED,
    Began,
    Delta,
    EngineEvent,
    Finished,
    GenerateRequest,
    SamplingParams,
    Waiting,
)

PING_S = 15.0
"""How long a stream may be silent before it says that it is still there."""

SETTLE_POLL_S = 0.05
ENDLESS = 1_000_000
"""Tokens that an answer without a limit may have, for whoever has one."""

_in_use: set[str] = set()


@dataclass(frozen=True, slots=True)
class Asked:
    """copies: answers to each prompt. answer_start: where in the prompt an answer that is gone on
    with begins. logprobs: likelier tokens that are told of beside each one; prompt_logprobs: of the
    prompts, before the answers; None: nothing is told. writes: False where the prompts are all that
    is asked about."""

    name: str
    model: str
    prompts: tuple[tuple[int, ...], ...]
    sampling: SamplingParams
    tenant: str
    copies: int = 1
    priority: int = 0
    answer_start: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    writes: bool = True

    def requests(self) -> list[GenerateRequest]:
        """One for each answer, those to the same prompt side by side."""
        return [
            GenerateRequest(
                request_id=self.name if not index else f"{self.name}-{index}",
                model=self.model,
                prompt_ids=self.prompts[index // self.copies],
                sampling=_sampling(self.sampling, index % self.copies),
                answer_start=self.answer_start,
                tenant=self.tenant,
                priority=self.priority,
                logprobs=self.logprobs,
                deadline_s=live_settings.value("TINYLLM_DEADLINE_S") or None,
            )
            for index in range(len(self.prompts) * self.copies)
        ]


@dataclass(frozen=True, slots=True)
class Refused:
    """In place of `Finished`: a filter ended the answer."""


Event = EngineEvent | Refused | engine.Scored
"""`Scored`: of the prompt, before its first answer."""
Heard = tuple[int, Event]
Said = Heard | None
_Said = EngineEvent | engine.Scored


async def settled(grace_s: float) -> None:
    """Wait until no call is answered any more, for at most so long. For the end of the server."""
    for _poll in range(round(grace_s / SETTLE_POLL_S)):
        if not _in_use:
            return
        await asyncio.sleep(SETTLE_POLL_S)


def unique(name: str) -> str:
    """The caller's request id, or one made of it where another call has it at this moment: the
    engine tells requests apart by it."""
    return name if name not in _in_use else f"{name}.{new_request_id()[:8]}"


async def answers(asked: Asked) -> AsyncGenerator[Said, None]:
    """What the engine says of answers, each with the index of its own; None whenever a reader has
    had nothing to read for PING_S, however far a prompt is read meanwhile. Closing the iterator
    cancels all. Raises EngineError.

    Of several answers to one prompt the first one reads it; the others begin when it has, and
    find it in the cache.
    """
    requests = asked.requests()
    heard = _heard(_Company(asked, requests))
    _in_use.add(asked.name)  # before anything is waited for: the next call looks for it
    try:
        async with held_places(parsed(asked.tenant), len(requests)), aclosing(heard) as said:
            async for each in said:
                yield each
    finally:
        _in_use.discard(asked.name)


async def _heard(company: _Company) -> AsyncGenerator[Said, None]:
    status = "ABORTED"
    try:
        for first in range(0, len(company.requests), company.copies):
            company.begin(first)
        spoke = time.monotonic()
        while company.pending:
            patience = max(0.0, spoke + PING_S - time.monotonic())
            done, _ = await asyncio.wait(
                company.pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            for index, event in company.heard(done):
                if isinstance(event, Waiting):
                    continue
                if not isinstance(event, Delta) or event.text:
                    spoke = time.monotonic()
                yield index, event
            if time.monotonic() - spoke >= PING_S:
                spoke = time.monotonic()
                yield None
        status = "DONE"
    except Exception:
        status = "FAILED"
        raise
    finally:
        await company.leave()
        finish(status)


@asynccontextmanager
async def reading(name: str, *, tenant: str, tokens: int) -> AsyncIterator[list[int]]:
    """While texts are read and nothing is written. Charged to their caller is what is put into the
    list: tokens that were read. Raises QuotaExceeded, TooManyTurns, DeadlineExceeded."""
    owner_id = parsed(tenant)
    name, done = unique(name), list[int]()
    _in_use.add(name)
    try:
        async with held_places(owner_id, 1):
            charge = await reserved(owner_id=owner_id, prompt_tokens=tokens, wanted=0)
            try:
                async with _in_time(live_settings.value("TINYLLM_DEADLINE_S") or None):
                    yield done
            finally:
                await asyncio.shield(paid(charge, sum(done), 0))
    finally:
        _in_use.discard(name)


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    """Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(seconds or 0) from None


class _Company:
    """The streams of one call. pending: the next event of each, with the stream's index."""

    def __init__(self, asked: Asked, requests: Sequence[GenerateRequest]) -> None:
        self._asked, self.requests, self.copies = asked, requests, asked.copies
        self._streams: dict[int, AsyncGenerator[_Said, None]] = {}
        self.pending: dict[asyncio.Future[_Said], int] = {}

    def begin(self, index: int) -> None:
        is_first = index % self.copies == 0
        top = self._asked.prompt_logprobs if is_first else None
        self._streams[index] = _events(self.requests[index], top, writes=self._asked.writes)
        self._ask(index)

    def heard(self, done: set[asyncio.Future[_Said]]) -> list[Heard]:
        said: list[Heard] = []
        for task in done:
            index = self.pending.pop(task)
            try:
                event = task.result()
            except StopAsyncIteration:
                continue
            except AnswerRefused:
                said.append((index, Refused()))
                continue
            self._ask(index)
            if isinstance(event, Began) and index % self.copies == 0:
                for other in range(index + 1, index + self.copies):
                    self.begin(other)
            said.append((index, event))
        return said

    async def leave(self) -> None:
        """What is still being written is cancelled; the engine hears of it before this returns."""
        for task in self.pending:
            task.cancel()
        await asyncio.gather(*self.pending, return_exceptions=True)
        for stream in self._streams.values():
            await stream.aclose()

    def _ask(self, index: int) -> None:
        self.pending[asyncio.ensure_future(anext(self._streams[index]))] = index


async def _events(
    request: GenerateRequest, top: int | None, *, writes: bool
) -> AsyncGenerator[_Said, None]:
    """Charged to its caller. top: of the prompt's log probabilities, which come first; None: none.
    Raises QuotaExceeded, before the engine is asked."""
    params, length, began, written = request.sampling, len(request.prompt_ids), False, 0
    charge = await reserved(
        owner_id=parsed(request.tenant),
        prompt_tokens=length,
        wanted=(params.max_tokens or ENDLESS) if writes else 0,
    )
    request = replace(request, sampling=replace(params, **charge.sampling))
    try:
        if top is not None:
            scored = await _scored(request, top)
            began = True
            yield scored
        async with aclosing(engine.stream(request)) as events:
            async for event in allowed(events if writes else _unwritten(events), before=""):
                began |= isinstance(event, Began)
                if isinstance(event, Delta):
                    written += len(event.token_ids)
                yield event
    finally:
        await asyncio.shield(paid(charge, length if began else 0, written))


async def _scored(request: GenerateRequest, top: int) -> engine.Scored:
    """Raises DeadlineExceeded, EngineError."""
    async with _in_time(request.deadline_s):
        question = engine.Scoring(request.prompt_ids, top)
        answer = await engine.client().examine(request.model, question)
    assert isinstance(answer, engine.Scored)
    return answer


async def _unwritten(events: AsyncIterator[EngineEvent]) -> AsyncGenerator[EngineEvent, None]:
    """An answer without tokens: the engine ends a request with a token at least."""
    async for event in events:
        if isinstance(event, Finished):
            yield replace(event, reason="length", output_tokens=0)
        elif not isinstance(event, Delta):
            yield event


def _sampling(params: SamplingParams, copy: int) -> SamplingParams:
    """A seed gives the same answers again, and not the same answer several times."""
    if params.seed is None or not copy:
        return params
    return replace(params, seed=(params.seed + copy) % (MAX_SEED + 1))
