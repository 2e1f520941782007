"""The websocket. Its receive handler only parses and starts tasks: a consumer that streams inside
its handler is deaf to `turn.stop` and to a disconnect."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import structlog
from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _

from chat import frames
from chat.accounts.sockets import CHECK_EVERY_S, may_stay, owner_of_socket, token_of
from chat.context import gauge
from chat.errors import ChatError, InvalidRequest, wire
from chat.follow import Reading, follow
from chat.frames import (
    BranchShow,
    ContextCount,
    SessionOpen,
    TurnBranchToken,
    TurnContinue,
    TurnRegenerate,
    TurnRewrite,
    TurnStop,
    TurnSubmit,
)
from chat.generation import Accepted, turns
from chat.glass.branch import Rewrite, TokenBranch
from chat.middleware import request_id
from chat.monitoring.registry import WS_CONNECTIONS
from chat.outlet import Slot, encode
from chat.signals import owner_group
from chat.site_socket import OUTLET
from chat.submission import Regeneration, Submission
from chat.temporary.reading import follow_temporary
from chat.temporary.sessions import temporary_sessions
from chat.temporary.turns import submit as submit_temporary
from chat.tracing.recorder import arrived

GOING_AWAY = 1001
"""The code with which a browser closes the socket of a page that is left."""
MAX_TASKS = 64
"""Frames being worked on and sessions followed, per socket."""


SIGNED_OUT = 4401
"""The code of a socket that is closed because nobody is signed in: its page asks for that."""


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    owner_id: uuid.UUID
    _is_heard = False
    _watching: asyncio.Task[None] | None = None

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Channels' own first asks a thread to close connections to the database that are too old,
        for every frame. Ours belong to the threads of `chat.database`."""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._follows: dict[uuid.UUID, asyncio.Task[None]] = {}
        translation.activate(_language(self.scope))
        try:
            self.owner_id = await owner_of_socket(self.scope)
        except ChatError:
            # A refused handshake tells a page nothing but that it failed.
            await self.accept()
            await self.close(code=SIGNED_OUT)
            return
        self._is_heard = True
        await self.accept()
        WS_CONNECTIONS.inc()
        await self.channel_layer.group_add(owner_group(self.owner_id), self.channel_name)
        await self._send({"v": 1, "type": "ready"})
        if token_of(self.scope) is not None:
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._is_heard:
            await asyncio.sleep(CHECK_EVERY_S)
            await self.access_changed({})

    async def list_changed(self, message: dict[str, Any]) -> None:
        await self._send({"v": 1, "type": "sessions.changed", "session": message["session"]})

    async def session_inspected(self, message: dict[str, Any]) -> None:
        told = {"type": "session.inspected", "session_id": message["session_id"]}
        await self._send({"v": 1, **told})

    async def access_changed(self, message: dict[str, Any]) -> None:
        """A password, a token, or who may sign in, is no longer what it was at the beginning."""
        if self._is_heard and not await may_stay(self.scope):
            self._is_heard = False
            for task in list(self._follows.values()):
                task.cancel()
            await self.close(code=SIGNED_OUT)

    async def disconnect(self, code: int) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if hasattr(self, "owner_id"):
            WS_CONNECTIONS.dec()
            await self.channel_layer.group_discard(owner_group(self.owner_id), self.channel_name)
        if code == GOING_AWAY:
            temporary_sessions().left(owner_id=self.owner_id, session_ids=[*self._follows])
        for task in list(self._follows.values()):
            task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if not self._is_heard:  # it was on its way when the socket was closed
            return
        name = request_id()
        structlog.contextvars.bind_contextvars(request_id=name)
        trace = arrived(name, "websocket", _header(self.scope, b"traceparent"))
        try:
            if text_data is None:
                raise InvalidRequest(_("A frame must be text, not binary."))
            if len(self._tasks) >= MAX_TASKS:
                raise InvalidRequest(_("Too many frames at once on this socket."))
            parsed = frames.parse(text_data)
        except InvalidRequest as error:
            await self._send_error(error, frames.client_id(text_data or ""))
            return
        trace.what = f"websocket {type(parsed).__name__}"
        trace.add("frame in", trace.began, time.monotonic(), bytes=len(text_data))
        named = parsed if isinstance(parsed, TurnSubmit | TurnRewrite | ContextCount) else None
        self._start(self._answer(parsed), named.client_id if named else None)

    async def _answer(self, parsed: frames.ClientFrame) -> None:
        match parsed:
            case SessionOpen():
                self._follow(Reading(self.owner_id, parsed.session_id, parsed.after))
            case TurnSubmit():
                await self._submit(parsed)
            case TurnStop() if temporary_sessions().knows(parsed.session_id):
                ids = {"owner_id": self.owner_id, "session_id": parsed.session_id}
                temporary_sessions().get(**ids).stop()
            case TurnStop():
                await turns().stop(owner_id=self.owner_id, session_id=parsed.session_id)
            case TurnContinue():
                self._show(
                    await turns().resume(
                        owner_id=self.owner_id,
                        session_id=parsed.session_id,
                        message_id=parsed.message_id,
                    )
                )
            case TurnRegenerate():
                await self._regenerate(parsed)
            case TurnBranchToken() | TurnRewrite():
                await self._branch(parsed)
            case BranchShow():
                await turns().show(
                    owner_id=self.owner_id,
                    session_id=parsed.session_id,
                    message_id=parsed.message_id,
                )
            case ContextCount():
                await self._send(await gauge.counted(self.owner_id, parsed))

    async def _regenerate(self, parsed: TurnRegenerate) -> None:
        regeneration = Regeneration(
            session_id=parsed.session_id,
            message_id=parsed.message_id,
            model=parsed.model,
            sampling=parsed.sampling,
        )
        self._show(await turns().regenerate(owner_id=self.owner_id, regeneration=regeneration))

    async def _branch(self, parsed: TurnBranchToken | TurnRewrite) -> None:
        ids = parsed.session_id, parsed.message_id
        branch = (
            Rewrite(*ids, parsed.text, parsed.client_id)
            if isinstance(parsed, TurnRewrite)
            else TokenBranch(*ids, parsed.index, parsed.token_id)
        )
        self._show(await turns().branch(owner_id=self.owner_id, branch=branch))

    async def _submit(self, parsed: TurnSubmit) -> None:
        submission = Submission(
            text=parsed.text,
            model=parsed.model,
            session_id=parsed.session_id,
            parent_id=parsed.parent_id,
            client_id=parsed.client_id,
            files=parsed.files,
            sampling=parsed.sampling,
            settings=parsed.settings,
        )
        known = temporary_sessions()
        if parsed.temporary or known.knows(parsed.session_id):
            session, seq = await submit_temporary(owner_id=self.owner_id, submission=submission)
            self._show(Accepted(session.id, seq, None))
        else:
            self._show(await turns().submit(owner_id=self.owner_id, submission=submission))

    def _show(self, accepted: Accepted) -> None:
        """Make the sender a reader like any other, unless it is one already."""
        if accepted.session_id not in self._follows:
            session_id, after = accepted.session_id, accepted.seq - 1
            self._follow(Reading(self.owner_id, session_id, after, is_sender=True))

    def _follow(self, reading: Reading) -> None:
        """Read a session from there on, instead of from where this socket read it before."""
        session_id = reading.session_id
        old = self._follows.pop(session_id, None)
        if old is not None:
            old.cancel()
        task = self._follows[session_id] = self._start(self._read(reading), None)

        def forget(done: asyncio.Task[None]) -> None:
            if self._follows.get(session_id) is done:
                del self._follows[session_id]

        task.add_done_callback(forget)

    async def _read(self, reading: Reading) -> None:
        outlet = self.scope.get("extensions", {}).get(OUTLET)
        is_temporary = temporary_sessions().knows(reading.session_id)
        if outlet is not None:
            return await (follow_temporary if is_temporary else follow)(outlet, reading)
        # served by another server than ours
        slot = Slot()
        work = follow_temporary(slot, reading) if is_temporary else follow(slot, reading)
        async with aclosing(slot.filled_by(work)) as events:
            async for event in events:
                if event is not None:
                    await self.send(text_data=event.text)

    def _start(self, work: Coroutine[Any, Any, None], name: str | None) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Disconnected:
                pass  # the page is gone, and `disconnect` about to be called
            except Exception as error:
                await self._send_error(error, name)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send_error(self, error: Exception, name: str | None) -> None:
        told = {"v": 1, "type": "error", **wire(error).as_dict()}
        await self._send(told if name is None else {**told, "client_id": name})

    async def _send(self, event: dict[str, Any]) -> None:
        await self.send(text_data=encode(event))


def _language(scope: dict[str, Any]) -> str:
    """The language that the page was shown in: by cookie, then by what the browser accepts."""
    request = HttpRequest()
    request.COOKIES = scope.get("cookies", {})
    request.META["HTTP_ACCEPT_LANGUAGE"] = _header(scope, b"accept-language")
    return translation.get_language_from_request(request)


def _header(scope: dict[str, Any], name: bytes) -> str:
    return str(dict(scope["headers"]).get(name, b"").decode("latin-1"))
