"""An answer as Anthropic's clients read it: one message, or the events that it is made of."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

from chat.errors import WireError
from chat.v1.errors import on_the_wire
from chat.v1.replies import Answer
from chat.v1.running import Asked, Said
from chat.v1.sse import PING, Frames, frame
from chat.v1.tool_frames import Message
from chat.v1.tool_reading import Arguments, Call, Part, Reader


def message(asked: Asked, answer: Answer, reader: Reader) -> dict[str, Any]:
    said = Message.of(reader, answer.text)
    content: list[dict[str, Any]] = [{"type": "text", "text": said.text}]
    if said.calls:
        content = content if said.text.strip() else []
        content += [_tool_use(id, name, _read(given)) for id, name, given in said.calls]
    return {
        **_head(asked),
        "content": content,
        **_ending(answer, called=bool(said.calls)),
        "usage": _usage(asked, answer),
    }


async def events(said: AsyncGenerator[Said, None], asked: Asked, reader: Reader) -> Frames:
    """The message begins at once. How many tokens were found in the cache is known at its end."""
    answer, blocks = Answer(), _Blocks()
    start = {**_head(asked), "content": [], "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", message={**start, "usage": _usage(asked, answer)})
    async with aclosing(said):
        async for each in said:
            if each is None:
                yield PING
            elif text := answer.take(each[1]):
                for event in blocks.told(reader.push(text)):
                    yield event
    for event in (*blocks.told(reader.end()), *blocks.closed()):
        yield event
    ending = _ending(answer, called=blocks.called)
    yield _event("message_delta", delta=ending, usage=_usage(asked, answer))
    yield _event("message_stop")


class _Blocks:
    """Texts and calls as blocks, one after the other. An answer without either has an empty
    text."""

    def __init__(self) -> None:
        self._index, self._open, self.called = -1, "", False

    def told(self, parts: Iterable[Part]) -> Iterator[bytes]:
        for part in parts:
            if isinstance(part, Call):
                self.called = True
                yield from self._begun("tool_use", _tool_use(part.id, part.name, {}))
            elif isinstance(part, Arguments):
                yield self._more({"type": "input_json_delta", "partial_json": part.text})
            else:
                if self._open != "text":
                    yield from self._begun("text", {"type": "text", "text": ""})
                yield self._more({"type": "text_delta", "text": part.text})

    def closed(self) -> Iterator[bytes]:
        if not self._open:
            yield from self._begun("text", {"type": "text", "text": ""})
        yield _event("content_block_stop", index=self._index)

    def _begun(self, kind: str, block: dict[str, Any]) -> Iterator[bytes]:
        if self._open:
            yield _event("content_block_stop", index=self._index)
        self._index, self._open = self._index + 1, kind
        yield _event("content_block_start", index=self._index, content_block=block)

    def _more(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)


def failed(error: BaseException, envelope: Callable[[WireError], dict[str, Any]]) -> bytes:
    return frame(envelope(on_the_wire(error)), "error")


def _event(kind: str, **fields: Any) -> bytes:
    return frame({"type": kind, **fields}, kind)


def _head(asked: Asked) -> dict[str, Any]:
    name = {"id": f"msg_{asked.name}", "type": "message"}
    return {**name, "role": "assistant", "model": asked.model}


def _tool_use(id: str, name: str, given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def _read(arguments: str) -> Any:
    """What was cut off is no object; the client is told by stop_reason."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}


def _ending(answer: Answer, *, called: bool) -> dict[str, Any]:
    stop = answer.finished.stop_string if answer.finished else None
    reason = {"length": "max_tokens", "content_filter": "refusal"}.get(answer.finish_reason)
    if reason is None:
        reason = "end_turn" if stop is None else "stop_sequence"
        reason = "tool_use" if called else reason
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
