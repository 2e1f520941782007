"""A response of several answers while it runs. Between two of them no turn is written: who stops
it then, who leaves, and what goes wrong, is seen to here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Any

from django.db import transaction

from chat.database import write_database
from chat.live import LiveTurn
from chat.models import Generation
from chat.site_tools.kinds import Ran
from chat.v1.errors import envelope, on_the_wire

_courses: dict[uuid.UUID, Course] = {}
"""By session."""


class Stopped(Exception):
    """Somebody has stopped the response while tools ran."""


def course_in(session_id: uuid.UUID) -> Course | None:
    """Of the response that is being made in a session."""
    course = _courses.get(session_id)
    return None if course is None or course.broken_off else course


class Course:
    """Entered for as long as the response is made; Stopped goes no further. What a pause is left by
    other than the next answer is kept with the answer before it, with what tools gave until then.
    turn: the answer that is being written, or was last."""

    def __init__(self, turn: LiveTurn) -> None:
        self.turn, self.stopped = turn, False
        self.name = turn.started.message_id.hex
        self._pauses = False
        self._kept: asyncio.Future[None] | None = None
        self._results: dict[str, Any] = {}
        self._tool: asyncio.Future[Ran] | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        _courses[self._session_id] = self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        try:
            if error is not None and self._pauses:
                await self._keep(error)
        finally:
            if _courses.get(self._session_id) is self:
                del _courses[self._session_id]
        return isinstance(error, Stopped)

    def pause(self) -> None:
        """The answer is over, and its calls are to be run."""
        self._pauses = True

    async def run(self, item_id: str, tool: Awaitable[Ran]) -> Ran:
        """Raises Stopped."""
        self._tool = asyncio.ensure_future(tool)
        if self.stopped:
            self._tool.cancel()
        try:
            ran = await self._tool
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.stopped or (task and task.cancelling()):
                raise
            raise Stopped from None
        self._results[item_id] = asdict(ran)
        return ran

    @asynccontextmanager
    async def next_turn(self) -> AsyncGenerator[None, None]:
        """In which it begins. Raises Stopped."""
        async with self._lock:
            if self.stopped:
                raise Stopped
            yield
            self._pauses = False
            self._results.clear()

    async def stop(self) -> None:
        """A tool that runs is ended with its process, which is kept when this returns. A turn that
        is being written is to be stopped itself."""
        self.stopped = True
        async with self._lock:
            if self._tool is not None and self._pauses:
                self._tool.cancel()
                await asyncio.wait([self._tool])
            if self._pauses:
                await self._keep(Stopped())

    @property
    def broken_off(self) -> bool:
        """No other answer follows."""
        return self._kept is not None

    async def _keep(self, error: BaseException) -> None:
        """Once; who comes later waits for the same, so that what is read then has it. An error that
        is none of whom asks is one of the response."""
        if self._kept is None:
            failed = isinstance(error, Exception) and not isinstance(error, Stopped)
            told = envelope(on_the_wire(error))["error"] if failed else None
            kept = {"results": self._results, "error": told}
            write = write_database(_break_off, self.turn.started.generation_id, kept)
            self._kept = asyncio.ensure_future(write)
        await asyncio.shield(self._kept)

    @property
    def _session_id(self) -> uuid.UUID:
        return self.turn.started.session_id


@transaction.atomic
def _break_off(generation_id: uuid.UUID, kept: dict[str, Any]) -> None:
    generation = Generation.objects.select_for_update().filter(id=generation_id).first()
    if generation is not None:  # else it was deleted meanwhile
        generation.request = {**(generation.request or {}), "broken_off": kept}
        generation.save(update_fields=["request"])
