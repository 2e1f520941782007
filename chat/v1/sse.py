"""Server-sent events: frames, pings, and errors after the answer has begun."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from django.http import StreamingHttpResponse

from chat.tracing.recorder import mark
from chat.v1.errors import envelope, on_the_wire
from chat.v1.replies import Answers
from chat.v1.running import Asked, Refused, Said, answers
from chat.v1.shapes import Shape
from inference.types import Began, Delta, Finished

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
Frames = AsyncGenerator[bytes, None]


def frame(body: dict[str, Any], event: str = "") -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def error_frame(error: BaseException) -> bytes:
    return frame(envelope(on_the_wire(error)))


async def begun(asked: Asked) -> AsyncGenerator[Said, None]:
    """The engine's answers, as `first_heard` has them. Raises EngineError."""
    return await first_heard(answers(asked))


async def first_heard(said: AsyncGenerator[Said, None]) -> AsyncGenerator[Said, None]:
    """The same answers, once one has begun or nothing has come for as long as a ping: so what is
    refused at once is an error of the reply and none in its midst. Raises what that raises."""
    first = await anext(said)

    async def all_of_them() -> AsyncGenerator[Said, None]:
        async with aclosing(said):
            yield first
            async for each in said:
                yield each

    return all_of_them()


def event_stream(frames: Frames, failed: Callable[[BaseException], bytes]) -> StreamingHttpResponse:
    """A reply of these frames; an error ends it with the frame that `failed` makes."""

    async def whole() -> Frames:
        is_first = True
        async with aclosing(frames):
            try:
                async for each in frames:
                    if is_first:
                        is_first = False
                        mark("first frame out")
                    yield each
            except Exception as error:
                yield failed(error)

    return StreamingHttpResponse(
        whole(),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def chunks(
    said: AsyncGenerator[Said, None], asked: Asked, shape: Shape, *, with_usage: bool
) -> Frames:
    """OpenAI's frames."""
    told = Answers(asked)
    async with aclosing(said):
        async for each in said:
            if each is None:
                yield PING
                continue
            index, event = each
            answer = told.each[index]
            text, made = answer.take(event), list[dict[str, Any]]()
            if isinstance(event, Delta):
                made = shape.pieces(index, text, event) if text or event.logprobs else []
            elif isinstance(event, Began):
                made = shape.begin(index, told)
            elif isinstance(event, Finished | Refused):
                made = shape.end(index, answer)
            for chunk in made:
                yield frame(chunk)
    if with_usage:
        yield frame(shape.numbers(told))
    yield DONE


async def whole(asked: Asked) -> Answers:
    """All answers, when the last one is done. Raises EngineError."""
    told = Answers(asked)
    async with aclosing(answers(asked)) as said:
        async for each in said:
            if each is not None:
                told.each[each[0]].take(each[1])
    return told
