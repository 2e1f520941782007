"""One answer, put together from the frames of the site's websocket; no connection is in here.

A connection may end at any frame. `opening` is what to send on the next one: the message again
under the same name, which the site says once, or the number of the last frame, from which it goes
on. What comes twice all the same is known by its place in the text.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .errors import AnswerFailed, ApiError, ConnectionLost
from .events import Answer, End, Event, Loading, Progress, Queued, Started, Text, Usage

Frame = Mapping[str, Any]


class Options(TypedDict, total=False):
    """session_id: without it, a new session. parent_id: the message to follow; without it, the end
    of what is shown. files: ids of what was uploaded. The rest is sampling: what is absent is the
    session's own, or the model's default."""

    session_id: str
    parent_id: str
    model: str
    files: Sequence[str]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[str, float]
    seed: int
    max_tokens: int
    stop: list[str]


_PLACE = ("session_id", "parent_id", "model", "files")


def submission(text: str, options: Options, parent_id: str | None) -> Turn:
    """A message and its answer."""
    return Turn(
        "turn.submit",
        client_id=uuid.uuid4().hex,
        text=text,
        session_id=options.get("session_id"),
        parent_id=parent_id,
        model=options.get("model", "chat"),
        files=list(options.get("files", ())),
        sampling={name: value for name, value in options.items() if name not in _PLACE},
    )


class Turn:
    def __init__(self, kind: str, **fields: Any) -> None:
        self._begin = {"v": 1, "type": kind, **fields}
        self._is_sent = False
        self._base: int | None = None
        self._pieces: list[str] = []
        self._length = 0
        self._first = self._seq = 0
        self._was_reset = False
        self.started: Started | None = None
        self.end: End | None = None
        self.must_reopen = False

    @property
    def answer(self) -> Answer:
        """Of a turn that is over. Raises AnswerFailed."""
        assert self.started is not None
        assert self.end is not None
        answer = Answer("".join(self._pieces), self.started, self.end)
        if self.end.status == "FAILED":
            raise AnswerFailed(answer)
        return answer

    def opening(self) -> dict[str, Any]:
        """Raises ConnectionLost where asking again might begin a second answer."""
        self.must_reopen = False
        if self.started is not None:
            place = {"session_id": self.started.session_id, "after": self._seq}
            return {"v": 1, "type": "session.open", **place}
        if self._is_sent and "client_id" not in self._begin:
            raise ConnectionLost("The connection ended before the site said that it has begun.")
        self._is_sent = True
        return self._begin

    def take(self, frame: Frame) -> Event | None:
        """What the frame tells. Raises ApiError."""
        kind = frame["type"]
        if kind == "error":
            raise ApiError(
                frame["message"],
                code=frame["code"],
                param=frame["fields"].get("param"),
                retry_after_s=frame.get("retry_after_s"),
            )
        if kind == "turn.started" and self.started is None:
            return self._start(frame)
        if kind == "session.reset":
            self._reset()
            return None
        if self.started is None or frame.get("message_id") != self.started.message_id:
            return None
        self._seq = max(self._seq, frame["seq"])
        return self._of_the_answer(kind, frame)

    def _of_the_answer(self, kind: str, frame: Frame) -> Event | None:
        if kind == "message.delta":
            return self._grow(frame)
        if kind == "message.end":
            self.end = _end(frame)
            return self.end
        if kind == "queue.position":
            return Queued(frame["position"])
        if kind == "model.loading":
            return Loading(frame["done"], frame["total"])
        if kind == "prompt.progress":
            return Progress(frame["done"], frame["total"])
        return None

    def _start(self, frame: Frame) -> Started:
        self._first = self._seq = frame["seq"]
        message, said = frame["message"], frame["user_message"]
        if not frame["continued"]:
            self._base = len(message["text"])
        self.started = Started(
            session_id=frame["session_id"],
            message_id=message["id"],
            user_message_id=said["id"] if said else None,
            title=frame["title"],
        )
        return self.started

    def _grow(self, frame: Frame) -> Text | None:
        if self._base is None:  # goes on from a text that we have not seen
            self._base = frame["offset"]
        known = self._base + self._length - frame["offset"]
        if known < 0:
            raise ApiError(f"{-known} characters are missing.", code="gap")
        text = frame["text"][known:]
        self._pieces.append(text)
        self._length += len(text)
        return Text(text) if text else None

    def _reset(self) -> None:
        """The site was killed, and does not know our number: from the beginning of the answer."""
        if self._was_reset:
            raise ApiError("The session is no longer what it was.", code="session_reset")
        self._was_reset = self.must_reopen = True
        self._seq = self._first - 1


def _end(frame: Frame) -> End:
    names = ("prompt_tokens", "output_tokens", "cached_tokens")
    return End(
        status=frame["status"],
        finish_reason=frame["finish_reason"],
        usage=Usage(*(frame["usage"][name] for name in names)),
        timings=frame["timings"],
        seed=frame["seed"],
        error=frame["error"],
        can_continue=frame["can_continue"],
    )
