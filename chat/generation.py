"""Turns from submission to their ended row. They belong to the process, not to the socket that
began them: a reader may come and go, the turn runs on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from chat import (
    branches,
    engine,
    filtering,
    forgetting,
    prompt_selectors,
    selectors,
    services,
)
from chat.answering import answered
from chat.attendance import deserted
from chat.beginning import Begun, Run, begin_turn, continue_turn, regenerate_turn
from chat.database import in_database, write_database
from chat.ending import Ending, end_turn
from chat.errors import ShuttingDown
from chat.event_log import EventLog
from chat.filtering.stream import AnswerRefused
from chat.glass.branch import Rewrite, TokenBranch, branch_turn
from chat.glass.written import written
from chat.head_start import HeadStart
from chat.live import LiveTurn
from chat.middleware import request_id
from chat.process_mark import ProcessMark
from chat.pulse import Pulse
from chat.signals import announce
from chat.submission import Regeneration, Submission, check_text, default_sampling
from chat.tracing.recorder import finish, span

READERS_S = 1.0
"""How long the end of the server waits for readers to be told of the end of their turn."""

R = TypeVar("R")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """seq: the number of the turn's first event. live: None where the same message had been
    accepted before and its turn is over."""

    session_id: uuid.UUID
    seq: int
    live: LiveTurn | None


class Turns:
    """The turns of this process, by session. `drain` ends them all."""

    def __init__(self) -> None:
        self.log = EventLog()
        self._mark = ProcessMark()
        self._pulse = Pulse()
        self._live: dict[uuid.UUID, LiveTurn] = {}
        self._streams: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        # by owner and name, of messages that are being begun
        self._names = WeakValueDictionary[tuple[uuid.UUID, str], asyncio.Lock]()
        self._accepting = True

    @property
    def process(self) -> str:
        return self._mark.id

    def get(self, session_id: uuid.UUID) -> LiveTurn | None:
        return self._live.get(session_id)

    def generation_ids(self) -> list[uuid.UUID]:
        return [turn.started.generation_id for turn in self._live.values()]

    def generations_by_request(self) -> dict[str, uuid.UUID]:
        """The generations that are being written here, by the request that writes each."""
        return {turn.request_id: turn.started.generation_id for turn in self._live.values()}

    @property
    def accepts(self) -> bool:
        """Whether new turns may begin: until `drain`."""
        return self._accepting

    async def submit(self, *, owner_id: uuid.UUID, submission: Submission) -> Accepted:
        """Begin a turn. Nothing is written unless it can begin. Raises ChatError, EngineError."""
        if not self._accepting:
            raise ShuttingDown
        with span("checks", characters=len(submission.text)):
            check_text(submission.text, with_files=bool(submission.files))
            submission = replace(submission, text=filtering.incoming(submission.text))
        is_free = submission.session_id is None or self.get(submission.session_id) is None
        early = HeadStart() if is_free else None
        run = replace(await self._run_with(submission.model), head_start=early)
        start = write_database(begin_turn, run, owner_id=owner_id, submission=submission)
        if submission.client_id:
            start = self._once((owner_id, submission.client_id), start)
        return await self._launch(start, early, attended=submission.attended)

    async def regenerate(self, *, owner_id: uuid.UUID, regeneration: Regeneration) -> Accepted:
        """Begin another answer beside one that is there. Raises ChatError, EngineError."""
        if not self._accepting:
            raise ShuttingDown
        run = await self._run_with(regeneration.model)
        start = write_database(regenerate_turn, run, owner_id=owner_id, regeneration=regeneration)
        return await self._launch(start, attended=regeneration.attended)

    async def branch(self, *, owner_id: uuid.UUID, branch: TokenBranch | Rewrite) -> Accepted:
        """Begin another answer beside one that is there, which begins as it does and goes on with
        another token, or begins as the person says. Raises ChatError, EngineError."""
        if not self._accepting:
            raise ShuttingDown
        session = {"owner_id": owner_id, "session_id": branch.session_id}
        await in_database(selectors.session_get, **session)
        found = await in_database(written, owner_id=owner_id, message_id=branch.message_id)
        run = await self._run_with(found.model)
        start = write_database(branch_turn, run, owner_id=owner_id, branch=branch, found=found)
        return await self._launch(start)

    async def show(
        self, *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
    ) -> None:
        """Show another branch, and tell the readers. An answer that is being written goes on.
        Raises SessionNotFound, MessageNotFound."""
        ids = {"session_id": session_id, "message_id": message_id}
        end = await write_database(branches.branch_show, owner_id=owner_id, **ids)
        turn = self.get(session_id)
        if turn is not None:
            turn.show(str(end))
        await announce(session_id)

    async def resume(
        self,
        *,
        owner_id: uuid.UUID,
        session_id: uuid.UUID,
        message_id: uuid.UUID,
        attended: bool = False,
    ) -> Accepted:
        """Go on with an answer that was stopped, failed or reached its length."""
        if not self._accepting:
            raise ShuttingDown
        context = await in_database(
            prompt_selectors.continue_context,
            owner_id=owner_id,
            session_id=session_id,
            message_id=message_id,
        )
        run = await self._run_with(context.previous.model)
        start = write_database(
            continue_turn, run, owner_id=owner_id, session_id=session_id, context=context
        )
        return await self._launch(start, attended=attended)

    async def stop(self, *, owner_id: uuid.UUID, session_id: uuid.UUID) -> LiveTurn | None:
        """End the session's live turn, if it has one, and keep its text. Raises SessionNotFound."""
        await in_database(selectors.session_get, owner_id=owner_id, session_id=session_id)
        self.cancel(session_id, "stop")
        return self.get(session_id)

    def cancel(self, session_id: uuid.UUID, cause: str) -> bool:
        """The one road for everyone who wants an answer ended: its stream is closed, which tells
        the engine. False where the session has no turn here that can still be ended."""
        stream, turn = self._streams.get(session_id), self.get(session_id)
        if stream is None or turn is None:
            return False
        _log.info("turn.cancelled", cause=cause, request_id=turn.request_id)
        stream.cancel()
        return True

    async def cancel_generations(self, generation_ids: Collection[uuid.UUID]) -> int:
        """Of an administrator. Waits a moment for the rows to say so. Returns how many it was."""
        turns = [t for t in self._live.values() if t.started.generation_id in generation_ids]
        ended = [t for t in turns if self.cancel(t.started.session_id, "admin")]
        waiting = [asyncio.create_task(turn.wait_end()) for turn in ended]
        if waiting:
            await asyncio.wait(waiting, timeout=READERS_S)
        return len(ended)

    async def delete(self, *, owner_id: uuid.UUID, session_id: uuid.UUID) -> None:
        """Delete a session, ending its live turn first. Raises SessionNotFound."""
        turn = await self.stop(owner_id=owner_id, session_id=session_id)
        if turn is not None:
            await turn.wait_end()
        await write_database(services.session_delete, owner_id=owner_id, session_id=session_id)
        await forgetting.settled()
        await announce(session_id)

    async def drain(self, *, grace_s: float) -> None:
        """Refuse new turns, give running ones `grace_s` seconds, stop the rest. Text is kept."""
        self._accepting = False
        # before they end: a turn that is over has readers that were not told yet
        turns = list(self._live.values())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        while self._tasks:
            for session_id in self._streams:
                self.cancel(session_id, "shutdown")
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if turns:
            told = [asyncio.create_task(turn.readers.gone()) for turn in turns]
            await asyncio.wait(told, timeout=READERS_S)
        await asyncio.to_thread(self.log.stop)
        self._mark.release()

    async def _run_with(self, model: str) -> Run:
        """Raises ModelNotFound, ModelUnavailable."""
        bound = structlog.contextvars.get_contextvars().get("request_id")
        codec = await engine.client().codec(model)
        return Run(codec, default_sampling(model), self.process, request_id(bound))

    async def _once(self, name: tuple[uuid.UUID, str], start: Coroutine[Any, Any, R]) -> R:
        """A message that is sent twice at the same moment is begun once: the second finds it."""
        async with self._names.setdefault(name, asyncio.Lock()):
            return await start

    async def _launch(
        self,
        start: Coroutine[Any, Any, Begun],
        early: HeadStart | None = None,
        *,
        attended: bool = False,
    ) -> Accepted:
        """Write the rows and begin. A sender that leaves in between takes neither back."""

        async def begin() -> Accepted:
            try:
                begun = await start
            except BaseException:
                if early is not None:
                    await early.drop()
                raise
            session_id, started, request = begun.session_id, begun.started, begun.request
            if started is None or request is None:
                return Accepted(session_id, begun.seq, self.get(session_id))
            turn = self._live[session_id] = LiveTurn(started, self._pulse, request.request_id)
            self.log.open(started)
            self._keep(asyncio.create_task(self._run(turn, begun, early)))
            if attended:
                self._keep(asyncio.create_task(self._watch(turn)))
            await announce(session_id)
            return Accepted(session_id, begun.seq, turn)

        return await asyncio.shield(self._keep(asyncio.create_task(begin())))

    async def _watch(self, turn: LiveTurn) -> None:
        """End an answer that was begun for a caller once nobody reads it any more."""
        if await deserted(turn):
            self.cancel(turn.started.session_id, "disconnect")

    def _keep(self, task: asyncio.Task[R]) -> asyncio.Task[R]:
        """The event loop alone would forget a task that nobody waits for; `drain` needs it too."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, turn: LiveTurn, begun: Begun, early: HeadStart | None) -> None:
        session_id, request = turn.started.session_id, begun.request
        assert request is not None
        work = answered(turn, begun, early, self.log, self.process)
        stream = self._streams[session_id] = asyncio.create_task(work)
        ending = Ending("DONE")
        try:
            await stream
        except asyncio.CancelledError:
            ending = Ending("STOPPED")
            if early is not None:  # which nobody has read yet where the end came at once
                await early.close()
        except AnswerRefused:
            ending = Ending("DONE", reason="content_filter")
        except Exception as error:
            ending = Ending("FAILED", error)
        finally:
            del self._streams[session_id]
            request = turn.request or request
            payload, seq = await end_turn(self.log, turn, request, self.process, ending)
            del self._live[session_id]
            turn.end(payload, seq)
            finish(payload["status"])
            await announce(session_id)


@cache
def turns() -> Turns:
    """This process's turns, made at their first use."""
    return Turns()
