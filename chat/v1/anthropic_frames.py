"""An answer as Anthropic's clients read it: one message, or the events that it is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from chat.errors import WireError
from chat.v1.errors import on_the_wire
from chat.v1.replies import Answer
from chat.v1.running import Asked, Said
from chat.v1.sse import PING, Frames, frame


def message(asked: Asked, answer: Answer) -> dict[str, Any]:
    return {
        **_head(asked),
        "content": [{"type": "text", "text": answer.text}],
        **_ending(answer),
        "usage": _usage(asked, answer),
    }


async def events(said: AsyncGenerator[Said, None], asked: Asked) -> Frames:
    """The message begins at once. How many tokens were found in the cache is known at its end."""
    answer = Answer()
    start = {**_head(asked), "content": [], "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", message={**start, "usage": _usage(asked, answer)})
    block = {"type": "text", "text": ""}
    yield _event("content_block_start", index=0, content_block=block)
    async with aclosing(said):
        async for each in said:
            if each is None:
                yield PING
            elif text := answer.take(each[1]):
                delta = {"type": "text_delta", "text": text}
                yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    yield _event("message_delta", delta=_ending(answer), usage=_usage(asked, answer))
    yield _event("message_stop")


def failed(error: BaseException, envelope: Callable[[WireError], dict[str, Any]]) -> bytes:
    return frame(envelope(on_the_wire(error)), "error")


def _event(kind: str, **fields: Any) -> bytes:
    return frame({"type": kind, **fields}, kind)


def _head(asked: Asked) -> dict[str, Any]:
    name = {"id": f"msg_{asked.name}", "type": "message"}
    return {**name, "role": "assistant", "model": asked.model}


def _ending(answer: Answer) -> dict[str, Any]:
    stop = answer.finished.stop_string if answer.finished else None
    reason = {"length": "max_tokens", "content_filter": "refusal"}.get(answer.finish_reason)
    if reason is None:
        reason = "end_turn" if stop is None else "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": stop}


def _usage(asked: Asked, answer: Answer) -> dict[str, int]:
    """What was found in the cache is counted apart from the input."""
    cached = answer.finished.cached_tokens if answer.finished else 0
    return {
        "input_tokens": len(asked.prompts[0]) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": answer.tokens,
    }
