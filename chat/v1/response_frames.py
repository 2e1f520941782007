"""A response as OpenAI's newer clients read it: one object, or the numbered events that it grows
by."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from chat import engine
from chat.v1.errors import envelope, on_the_wire
from chat.v1.logprobs import of_chat
from chat.v1.replies import Answer
from chat.v1.response_output import Output
from chat.v1.running import Said
from chat.v1.sse import PING, Frames, frame
from chat.v1.tool_reading import Plain, Reader
from inference.types import Delta, TokenLogprobs

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Head:
    """What a response says beside its answer. name: of both in their ids. params: of its sampling.
    previous: the id of the response that it goes on from. told_again: fields of the request."""

    name: str
    model: str
    params: dict[str, Any]
    input_tokens: int
    told_again: dict[str, Any]
    created: int = field(default_factory=lambda: int(time.time()))
    previous: str | None = None
    store: bool = False


class ResponseShape:
    """codec: of the model, where log probabilities are told. reader: of the calls in an answer."""

    def __init__(
        self, head: Head, codec: engine.PromptCodec | None = None, reader: Reader | None = None
    ) -> None:
        self._head, self._codec = head, codec
        self._numbers = count()
        self.output = Output(head.name, reader or Plain())

    def event(self, kind: str, **fields: Any) -> bytes:
        return frame({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def failed(self, error: BaseException) -> bytes:
        """`error` in it is what makes clients raise."""
        told = envelope(on_the_wire(error))["error"]
        short = {name: told[name] for name in ("code", "message", "param")}
        return self.event("error", **short, error=told)

    def take(self, text: str, logprobs: Sequence[TokenLogprobs]) -> Iterator[bytes]:
        for kind, fields in self.output.take(text, self._told(logprobs)):
            yield self.event(f"response.{kind}", **fields)

    def end(self, answer: Answer) -> Iterator[bytes]:
        for kind, fields in self.output.end(status_of(answer)):
            yield self.event(f"response.{kind}", **fields)

    def whole(self, answer: Answer, error: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response of an answer of which nothing was taken yet. error: why it failed."""
        told = self._told(answer.logprobs)
        for _event in chain(
            self.output.take(answer.text, told), self.output.end(status_of(answer))
        ):
            pass
        return self.response(answer, error)

    def response(
        self, answer: Answer | None, error: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """answer: when it is over and was taken."""
        head = self._head
        reason = _INCOMPLETE.get(answer.finish_reason) if answer else None
        return {
            "id": f"resp_{head.name}",
            "object": "response",
            "created_at": head.created,
            "status": "failed" if error else status_of(answer),
            "error": {"code": "server_error", "message": error["message"]} if error else None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": head.model,
            "output": self.output.items if answer else [],
            "previous_response_id": head.previous,
            "reasoning": {"effort": None, "summary": None},
            "store": head.store,
            "temperature": head.params["temperature"],
            "top_p": head.params["top_p"],
            "truncation": "disabled",
            "usage": self._usage(answer) if answer else None,
            **head.told_again,
        }

    def _told(self, logprobs: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
        return of_chat(self._codec, logprobs) if self._codec else []

    def _usage(self, answer: Answer) -> dict[str, Any]:
        read = self._head.input_tokens
        cached = answer.finished.cached_tokens if answer.finished else 0
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": answer.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + answer.tokens,
        }


async def events(said: AsyncGenerator[Said, None], shape: ResponseShape) -> Frames:
    answer = Answer()
    yield shape.event("response.created", response=shape.response(None))
    yield shape.event("response.in_progress", response=shape.response(None))
    async with aclosing(said):
        async for each in said:
            if each is None:
                yield PING
                continue
            event = each[1]
            text = answer.take(event)
            for made in shape.take(text, event.logprobs if isinstance(event, Delta) else ()):
                yield made
    for made in shape.end(answer):
        yield made
    kind = "completed" if status_of(answer) == "completed" else "incomplete"
    yield shape.event(f"response.{kind}", response=shape.response(answer))


def status_of(answer: Answer | None) -> str:
    """As the API calls it. answer: when it is over."""
    if answer is None:
        return "in_progress"
    if answer.finished and answer.finished.reason == "cancelled":
        return "cancelled"
    return "incomplete" if answer.finish_reason in _INCOMPLETE else "completed"
