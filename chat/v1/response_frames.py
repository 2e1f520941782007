"""A response as OpenAI's newer clients read it: one object, or the numbered events that it grows
by."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Protocol

from chat import engine
from chat.site_tools.kinds import Ran
from chat.v1.course import Course
from chat.v1.errors import envelope, on_the_wire
from chat.v1.logprobs import of_chat
from chat.v1.replies import Answer
from chat.v1.response_output import Event, Output
from chat.v1.running import Said
from chat.v1.sse import PING, Frames, frame
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
    """codec: of the model, where log probabilities are told. spent: tokens of earlier rounds: read,
    of these found in the cache, and written."""

    def __init__(
        self,
        head: Head,
        output: Output,
        codec: engine.PromptCodec | None = None,
        spent: Sequence[int] = (0, 0, 0),
    ) -> None:
        self.head, self._codec = head, codec
        self._numbers = count()
        self.output, self.spent = output, list(spent)

    def event(self, kind: str, **fields: Any) -> bytes:
        return frame({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def failed(self, error: BaseException) -> bytes:
        """`error` in it is what makes clients raise."""
        told = envelope(on_the_wire(error))["error"]
        short = {name: told[name] for name in ("code", "message", "param")}
        return self.event("error", **short, error=told)

    def take(self, text: str, logprobs: Sequence[TokenLogprobs]) -> Iterator[bytes]:
        return self.written(self.output.take(text, self._told(logprobs)))

    def end(self, answer: Answer) -> Iterator[bytes]:
        return self.written(self.output.end(status_of(answer)))

    def written(self, events: Iterator[Event]) -> Iterator[bytes]:
        for kind, fields in events:
            yield self.event(f"response.{kind}", **fields)

    def whole(
        self,
        answer: Answer,
        error: dict[str, Any] | None = None,
        *,
        broken_off: bool = False,
    ) -> dict[str, Any]:
        """The response of an answer of which nothing was taken yet. error: why it failed.
        broken_off: its calls were to be run, and not all were."""
        taken = self.output.take(answer.text, self._told(answer.logprobs))
        ended = self.output.end(status_of(answer))
        for _event in chain(taken, ended, self.output.not_run()):
            pass
        if broken_off:
            answer.stop()
        return self.response(answer, error)

    def response(
        self, answer: Answer | None, error: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """answer: when it is over and was taken."""
        head = self.head
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
        read, cached, written = self.sums(answer)
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        }

    def sums(self, answer: Answer) -> list[int]:
        """`spent`, with this answer."""
        ended = answer.finished
        read = ended.prompt_tokens if ended else self.head.input_tokens
        here = (read, ended.cached_tokens if ended else 0, answer.tokens)
        return [before + now for before, now in zip(self.spent, here, strict=True)]


class Rounds(Protocol):
    """Where the site runs the calls of an answer, and the model goes on."""

    course: Course

    def goes_on(self, answer: Answer, output: Output) -> bool: ...
    async def run(self, item: dict[str, Any]) -> Ran: ...
    async def next(self, shape: ResponseShape, answer: Answer) -> AsyncGenerator[Said, None]: ...


async def events(
    said: AsyncGenerator[Said, None], shape: ResponseShape, rounds: Rounds | None = None
) -> Frames:
    yield shape.event("response.created", response=shape.response(None))
    yield shape.event("response.in_progress", response=shape.response(None))
    async with rounds.course if rounds else nullcontext():
        while True:
            answer = Answer()
            async with aclosing(said), aclosing(_round(said, answer, shape)) as frames:
                async for each in frames:
                    yield each
            if rounds is None or not rounds.goes_on(answer, shape.output):
                break
            for item in shape.output.waiting:
                for made in shape.written(shape.output.ran(item, await rounds.run(item))):
                    yield made
            said = await rounds.next(shape, answer)
    if rounds and rounds.course.broken_off:
        answer.stop()
    for made in shape.written(shape.output.not_run()):
        yield made
    kind = "completed" if status_of(answer) == "completed" else "incomplete"
    yield shape.event(f"response.{kind}", response=shape.response(answer))


async def _round(said: AsyncGenerator[Said, None], answer: Answer, shape: ResponseShape) -> Frames:
    """One answer of the model's, which is taken into `answer`."""
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


def status_of(answer: Answer | None) -> str:
    """As the API calls it. answer: when it is over."""
    if answer is None:
        return "in_progress"
    if answer.finished and answer.finished.reason == "cancelled":
        return "cancelled"
    return "incomplete" if answer.finish_reason in _INCOMPLETE else "completed"
