"""The engine's answers to one call: one, or several to the same prompt, which is read once."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from chat import engine, live_settings
from chat.filtering.stream import AnswerRefused, allowed
from chat.middleware import request_id as new_request_id
from chat.tracing.recorder import finish
from chat.unwritten import held_places, paid, reserved
from inference.types import (
    MAX_SEED,
    Began,
    Delta,
    EngineEvent,
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
    with begins."""

    name: str
    model: str
    prompts: tuple[tuple[int, ...], ...]
    sampling: SamplingParams
    tenant: str
    copies: int = 1
    priority: int = 0
    answer_start: int | None = None

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
                deadline_s=live_settings.value("TINYLLM_DEADLINE_S") or None,
            )
            for index in range(len(self.prompts) * self.copies)
        ]


@dataclass(frozen=True, slots=True)
class Refused:
    """In place of `Finished`: a filter ended the answer."""


Heard = tuple[int, EngineEvent | Refused]
Said = Heard | None


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
    company = _Company(requests, asked.copies)
    heard = _heard(company)
    _in_use.add(asked.name)  # before anything is waited for: the next call looks for it
    try:
        async with held_places(uuid.UUID(asked.tenant), len(requests)), aclosing(heard) as said:
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


class _Company:
    """The streams of one call. pending: the next event of each, with the stream's index."""

    def __init__(self, requests: Sequence[GenerateRequest], copies: int) -> None:
        self.requests, self.copies = requests, copies
        self._streams: dict[int, AsyncGenerator[EngineEvent, None]] = {}
        self.pending: dict[asyncio.Future[EngineEvent], int] = {}

    def begin(self, index: int) -> None:
        self._streams[index] = _events(self.requests[index])
        self._ask(index)

    def heard(self, done: set[asyncio.Future[EngineEvent]]) -> list[Heard]:
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


async def _events(request: GenerateRequest) -> AsyncGenerator[EngineEvent, None]:
    """Charged to its caller. Raises QuotaExceeded, before the engine is asked."""
    params, length, written = request.sampling, len(request.prompt_ids), 0
    charge = await reserved(
        owner_id=uuid.UUID(request.tenant),
        prompt_tokens=length,
        wanted=params.max_tokens or ENDLESS,
    )
    request = replace(request, sampling=replace(params, **charge.sampling))
    try:
        async with aclosing(engine.stream(request)) as events:
            async for event in allowed(events, before=""):
                if isinstance(event, Delta):
                    written += len(event.token_ids)
                yield event
    finally:
        await asyncio.shield(paid(charge, length if written else 0, written))


def _sampling(params: SamplingParams, copy: int) -> SamplingParams:
    """A seed gives the same answers again, and not the same answer several times."""
    if params.seed is None or not copy:
        return params
    return replace(params, seed=(params.seed + copy) % (MAX_SEED + 1))
