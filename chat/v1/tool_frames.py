"""Chat completions with calls of tools, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chat import engine
from chat.v1.replies import Answer, Answers, Head
from chat.v1.shapes import ChatShape
from chat.v1.tool_reading import Arguments, Call, Part, Reader
from chat.v1.tool_reading import Said as Text
from inference.types import Delta, TokenLogprobs


@dataclass(slots=True)
class Message:
    """An answer as it is read: its text, and [id, name, arguments] of each call."""

    text: str = ""
    calls: list[list[str]] = field(default_factory=list)

    def take(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if isinstance(part, Text):
                self.text += part.text
            elif isinstance(part, Call):
                self.calls.append([part.id, part.name, ""])
            else:
                self.calls[part.index][2] += part.text

    @classmethod
    def of(cls, reader: Reader, text: str) -> Message:
        message = cls()
        message.take(reader.push(text))
        message.take(reader.end())
        return message


class ToolShape(ChatShape):
    """make: a reader for each answer. Text waits until it is known to be none of a call; the log
    probabilities of its tokens wait with it, and come in one chunk with what it was."""

    def __init__(
        self,
        head: Head,
        codec: engine.PromptCodec,
        make: Callable[[], Reader],
        *,
        with_usage: bool,
        prompt_top: int | None = None,
    ) -> None:
        super().__init__(head, codec, with_usage=with_usage, prompt_top=prompt_top)
        self._make = make
        self._readers: dict[int, Reader] = {}
        self._called: set[int] = set()
        self._waiting: dict[int, list[TokenLogprobs]] = {}

    def pieces(self, index: int, text: str, delta: Delta) -> list[dict[str, Any]]:
        """Several of a text, or none yet."""
        reader = self._readers.setdefault(index, self._make())
        self._waiting.setdefault(index, []).extend(delta.logprobs)
        return self._read(index, reader.push(text))

    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]:
        rest = self._read(index, self._readers.setdefault(index, self._make()).end())
        reason = finish_reason(answer, called=index in self._called)
        last = self._chunk(index, {}, reason, self._told_now(index))
        return [*rest, {**last, "timings": answer.timings()}]

    def whole(self, answers: Answers) -> dict[str, Any]:
        body = super().whole(answers)
        for choice, answer in zip(body["choices"], answers.each, strict=True):
            said = Message.of(self._make(), answer.text)
            choice["finish_reason"] = finish_reason(answer, called=bool(said.calls))
            if said.calls:
                calls = [_call(*call) for call in said.calls]
                choice["message"] |= {"content": said.text or None, "tool_calls": calls}
        return body

    def _read(self, index: int, parts: Iterable[Part]) -> list[dict[str, Any]]:
        return [
            self._chunk(index, self._delta(index, part), logprobs=self._told_now(index))
            for part in parts
        ]

    def _told_now(self, index: int) -> dict[str, Any] | None:
        return self._told(self._waiting.pop(index, ()))

    def _delta(self, index: int, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"content": part.text}
        if isinstance(part, Arguments):
            return {"tool_calls": [{"index": part.index, "function": {"arguments": part.text}}]}
        self._called.add(index)
        return {"tool_calls": [{"index": part.index, **_call(part.id, part.name, "")}]}


def finish_reason(answer: Answer, *, called: bool) -> str:
    reason = answer.finish_reason
    return "tool_calls" if called and reason == "stop" else reason


def _call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
