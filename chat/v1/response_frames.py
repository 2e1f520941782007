"""A response as OpenAI's newer clients read it: one object, or the numbered events that it grows
by."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import count
from typing import Any

from chat import engine
from chat.v1.errors import envelope, on_the_wire
from chat.v1.logprobs import of_chat
from chat.v1.replies import Answer
from chat.v1.running import Asked, Said
from chat.v1.sse import PING, Frames, frame
from inference.types import Delta, TokenLogprobs

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseShape:
    """echoed: fields of the request that its response repeats."""

    def __init__(self, asked: Asked, codec: engine.PromptCodec, **echoed: Any) -> None:
        self._asked, self._codec, self._echoed = asked, codec, echoed
        self._created = int(time.time())
        self._numbers = count()
        self.place = {"item_id": f"msg_{asked.name}", "output_index": 0, "content_index": 0}

    def event(self, kind: str, **fields: Any) -> bytes:
        return frame({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def failed(self, error: BaseException) -> bytes:
        """`error` in it is what makes clients raise."""
        told = envelope(on_the_wire(error))["error"]
        short = {name: told[name] for name in ("code", "message", "param")}
        return self.event("error", **short, error=told)

    def response(self, answer: Answer | None) -> dict[str, Any]:
        """answer: when it is over."""
        params = self._asked.sampling
        reason = _INCOMPLETE.get(answer.finish_reason) if answer else None
        return {
            "id": f"resp_{self._asked.name}",
            "object": "response",
            "created_at": self._created,
            "status": _status(answer),
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._asked.model,
            "output": [self.item(answer)] if answer else [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": params.temperature,
            "tool_choice": "auto",
            "tools": [],
            "top_p": params.top_p,
            "truncation": "disabled",
            "usage": self._usage(answer) if answer else None,
            **self._echoed,
        }

    def item(self, answer: Answer | None) -> dict[str, Any]:
        content = [self.part(answer)] if answer else []
        name = {"type": "message", "id": self.place["item_id"], "status": _status(answer)}
        return {**name, "role": "assistant", "content": content}

    def part(self, answer: Answer) -> dict[str, Any]:
        told = self.told(answer.logprobs)
        return {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": told}

    def told(self, logprobs: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
        return of_chat(self._codec, logprobs)

    def _usage(self, answer: Answer) -> dict[str, Any]:
        read = len(self._asked.prompts[0])
        cached = answer.finished.cached_tokens if answer.finished else 0
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": answer.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + answer.tokens,
        }


async def events(said: AsyncGenerator[Said, None], shape: ResponseShape) -> Frames:
    answer = Answer()
    yield shape.event("response.created", response=shape.response(None))
    yield shape.event("response.in_progress", response=shape.response(None))
    yield shape.event("response.output_item.added", output_index=0, item=shape.item(None))
    yield shape.event("response.content_part.added", **shape.place, part=shape.part(answer))
    async with aclosing(said):
        async for each in said:
            if each is None:
                yield PING
                continue
            event = each[1]
            text = answer.take(event)
            told = shape.told(event.logprobs) if isinstance(event, Delta) else []
            if text or told:
                kind = "response.output_text.delta"
                yield shape.event(kind, **shape.place, delta=text, logprobs=told)
    text, told = answer.text, shape.told(answer.logprobs)
    yield shape.event("response.output_text.done", **shape.place, text=text, logprobs=told)
    yield shape.event("response.content_part.done", **shape.place, part=shape.part(answer))
    yield shape.event("response.output_item.done", output_index=0, item=shape.item(answer))
    yield shape.event(f"response.{_status(answer)}", response=shape.response(answer))


def _status(answer: Answer | None) -> str:
    if answer is None:
        return "in_progress"
    return "incomplete" if answer.finish_reason in _INCOMPLETE else "completed"
