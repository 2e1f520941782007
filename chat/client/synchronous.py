"""`Client`: calls that return when they are done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from websockets.sync.client import connect

from . import calls
from .calls import Call
from .events import Answer, Event
from .retrying import LOST, SOCKET, Retrying, headers_of, socket_url
from .shapes import Hit, Message, Session
from .turn import Options, Turn, submission

T = TypeVar("T")


class Client:
    """token: an API token with the scopes `read` and `chat`, where the site has accounts. Every
    call raises ApiError for what the site refuses, and httpx's errors where it is not reached."""

    def __init__(
        self, base_url: str = "http://localhost:3000", *, token: str | None = None
    ) -> None:
        self._url, self._headers = socket_url(base_url), headers_of(token)
        self._http = httpx.Client(base_url=base_url, headers=self._headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def stream(self, text: str, **options: Unpack[Options]) -> Iterator[Event]:
        """Say something, and follow its answer. Raises ConnectionLost."""
        yield from self._follow(self._begin(text, options))

    def send(self, text: str, **options: Unpack[Options]) -> Answer:
        """Say something, and wait for the whole answer. Raises ConnectionLost, and AnswerFailed,
        with the text so far."""
        turn = self._begin(text, options)
        for _event in self._follow(turn):
            pass
        return turn.answer

    def regenerate(
        self, session_id: str, message_id: str, *, model: str = "chat", **sampling: Any
    ) -> Iterator[Event]:
        """Follow another answer beside this one."""
        its = {"session_id": session_id, "message_id": message_id, "model": model}
        return self._follow(Turn("turn.regenerate", **its, sampling=sampling))

    def go_on(self, session_id: str, message_id: str) -> Iterator[Event]:
        """Follow what is added to an answer that was stopped, failed or reached its length."""
        return self._follow(Turn("turn.continue", session_id=session_id, message_id=message_id))

    def _begin(self, text: str, options: Options) -> Turn:
        parent_id = options.get("parent_id")
        if parent_id is None and "session_id" in options:
            parent_id = self.session(options["session_id"]).shown
        return submission(text, options, parent_id)

    def _follow(self, turn: Turn) -> Iterator[Event]:
        retrying = Retrying()
        while True:
            lost: Exception | None = None
            try:
                with connect(self._url, additional_headers=self._headers, **SOCKET) as socket:
                    socket.send(json.dumps(turn.opening()))
                    for text in socket:
                        event = turn.take(json.loads(text))
                        if event is not None:
                            retrying.worked()
                            yield event
                        if turn.end is not None:
                            return
                        if turn.must_reopen:
                            socket.send(json.dumps(turn.opening()))
            except LOST as error:
                lost = error
            time.sleep(retrying.wait_s(lost))

    def sessions(self, *, archived: bool = False) -> Iterator[Session]:
        """All of them, the one used last first behind the pinned ones."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask(calls.sessions(cursor, archived=archived))
            yield from page.data
            cursor = page.next_cursor

    def messages(self, session_id: str, *, branch: str = "shown") -> Iterator[Message]:
        """The oldest first. branch: "shown", or "all" for the whole tree."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask(calls.messages(session_id, cursor, branch=branch))
            yield from page.data
            cursor = page.next_cursor

    def create_session(
        self, model: str = "chat", *, title: str | None = None, settings: Any = None
    ) -> Session:
        return self._ask(calls.create_session(model, title, settings))

    def session(self, session_id: str) -> Session:
        return self._ask(calls.session(session_id))

    def change_session(self, session_id: str, **changes: Any) -> Session:
        """title, pinned, archived, folder, deleted."""
        return self._ask(calls.change_session(session_id, changes))

    def delete_session(self, session_id: str) -> None:
        self._ask(calls.delete_session(session_id))

    def stop(self, session_id: str) -> str | None:
        """End the answer that is being written; its stream tells so. Returns its id, if one was."""
        return self._ask(calls.stop(session_id))

    def search(self, text: str) -> list[Hit]:
        return self._ask(calls.search(text))

    def upload(self, path: Path) -> str:
        """Returns the file's id, to be named in `files`."""
        return self._ask(calls.upload(path))

    def _ask(self, call: Call[T]) -> T:
        return call.read(self._http.request(**call.request()))
