"""How OpenAI's two ways of asking for text are answered: chat completions and completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from chat.v1.replies import Answer, Answers, Head


class Shape(Protocol):
    """A reply's form. Each method gives the chunks, or the body, as JSON's objects."""

    def begin(self, index: int) -> list[dict[str, Any]]: ...
    def piece(self, index: int, text: str) -> dict[str, Any]: ...
    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]: ...
    def numbers(self, answers: Answers) -> dict[str, Any]: ...
    def whole(self, answers: Answers) -> dict[str, Any]: ...


class ChatShape:
    """The first delta carries the role, the last one is empty and has the finish reason.
    with_usage: the chunk with the numbers is still to come, and says so in all the others."""

    def __init__(self, head: Head, *, with_usage: bool) -> None:
        self._head = head
        self._more: dict[str, Any] = {"usage": None} if with_usage else {}

    def begin(self, index: int) -> list[dict[str, Any]]:
        return [self._chunk(index, {"role": "assistant", "content": ""})]

    def piece(self, index: int, text: str) -> dict[str, Any]:
        return self._chunk(index, {"content": text})

    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]:
        last = self._chunk(index, {}, answer.finish_reason)
        return [{**last, "timings": answer.timings()}]

    def numbers(self, answers: Answers) -> dict[str, Any]:
        return self._head.under("chat.completion.chunk", [], usage=answers.usage())

    def whole(self, answers: Answers) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
            for index, answer in enumerate(answers.each)
        ]
        numbers = {"usage": answers.usage(), "timings": answers.each[0].timings()}
        return self._head.under("chat.completion", choices, **numbers)

    def _chunk(
        self, index: int, delta: dict[str, Any], finish_reason: str | None = None
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return self._head.under("chat.completion.chunk", [choice], **self._more)


class CompletionShape:
    """echoes: what is said before each answer, which is its prompt, or nothing."""

    def __init__(self, head: Head, *, with_usage: bool, echoes: Sequence[str]) -> None:
        self._head, self._echoes = head, echoes
        self._more: dict[str, Any] = {"usage": None} if with_usage else {}

    def begin(self, index: int) -> list[dict[str, Any]]:
        echo = self._echoes[index]
        return [self.piece(index, echo)] if echo else []

    def piece(self, index: int, text: str) -> dict[str, Any]:
        return self._head.under("text_completion", [_text_choice(index, text)], **self._more)

    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]:
        choice = _text_choice(index, "", answer.finish_reason)
        numbers = {**self._more, "timings": answer.timings()}
        return [self._head.under("text_completion", [choice], **numbers)]

    def numbers(self, answers: Answers) -> dict[str, Any]:
        return self._head.under("text_completion", [], usage=answers.usage())

    def whole(self, answers: Answers) -> dict[str, Any]:
        choices = [
            _text_choice(index, self._echoes[index] + answer.text, answer.finish_reason)
            for index, answer in enumerate(answers.each)
        ]
        numbers = {"usage": answers.usage(), "timings": answers.each[0].timings()}
        return self._head.under("text_completion", choices, **numbers)


def _text_choice(index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
