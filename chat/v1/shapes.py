"""How OpenAI's two ways of asking for text are answered: chat completions and completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from chat import engine
from chat.v1.logprobs import joined, of_chat, of_completion, of_echo, of_prompt
from chat.v1.replies import Answer, Answers, Head
from inference.types import Delta, TokenLogprobs


class Shape(Protocol):
    """A reply's form. Each method gives the chunks, or the body, as JSON's objects."""

    def begin(self, index: int, answers: Answers) -> list[dict[str, Any]]: ...
    def pieces(self, index: int, text: str, delta: Delta) -> list[dict[str, Any]]: ...
    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]: ...
    def numbers(self, answers: Answers) -> dict[str, Any]: ...
    def whole(self, answers: Answers) -> dict[str, Any]: ...


class ChatShape:
    """The first delta carries the role, the last one is empty and has the finish reason.
    with_usage: the chunk with the numbers is still to come, and says so in all the others.
    prompt_top: likelier tokens beside each one of the prompt; None: nothing is told of these."""

    def __init__(
        self,
        head: Head,
        codec: engine.PromptCodec,
        *,
        with_usage: bool,
        prompt_top: int | None = None,
    ) -> None:
        self._head, self._codec, self._prompt_top = head, codec, prompt_top
        self._more: dict[str, Any] = {"usage": None} if with_usage else {}

    def begin(self, index: int, answers: Answers) -> list[dict[str, Any]]:
        return [self._chunk(index, {"role": "assistant", "content": ""})]

    def pieces(self, index: int, text: str, delta: Delta) -> list[dict[str, Any]]:
        return [self._chunk(index, {"content": text}, logprobs=self._told(delta.logprobs))]

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
                "logprobs": self._told(answer.logprobs),
                "finish_reason": answer.finish_reason,
            }
            for index, answer in enumerate(answers.each)
        ]
        numbers: dict[str, Any] = {"usage": answers.usage()}
        numbers["timings"] = answers.each[0].timings()
        if self._prompt_top is not None:
            tokens = answers.prompt(0) or ()
            numbers["prompt_logprobs"] = of_prompt(self._codec, tokens, self._prompt_top)
        return self._head.under("chat.completion", choices, **numbers)

    def _told(self, logprobs: Sequence[TokenLogprobs]) -> dict[str, Any] | None:
        return {"content": of_chat(self._codec, logprobs), "refusal": None} if logprobs else None

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return self._head.under("chat.completion.chunk", [choice], **self._more)


class CompletionShape:
    """echoes: what is said before each answer, which is its prompt, or nothing. told: whether log
    probabilities are, of the echo too; prompt_top: as in `ChatShape`, for each choice."""

    def __init__(
        self,
        head: Head,
        codec: engine.PromptCodec,
        *,
        with_usage: bool,
        echoes: Sequence[str],
        told: bool = False,
        prompt_top: int | None = None,
    ) -> None:
        self._head, self._codec, self._echoes = head, codec, echoes
        self._told, self._prompt_top = told, prompt_top
        self._more: dict[str, Any] = {"usage": None} if with_usage else {}

    def begin(self, index: int, answers: Answers) -> list[dict[str, Any]]:
        echo = self._echoes[index]
        if not echo:
            return []
        return [self._chunk(_text_choice(index, echo, self._of_echo(index, answers)))]

    def pieces(self, index: int, text: str, delta: Delta) -> list[dict[str, Any]]:
        told = self._of(index, delta.logprobs, delta.offsets) if self._told else None
        return [self._chunk(_text_choice(index, text, told))]

    def end(self, index: int, answer: Answer) -> list[dict[str, Any]]:
        choice = _text_choice(index, "", None, answer.finish_reason)
        return [{**self._chunk(choice), "timings": answer.timings()}]

    def numbers(self, answers: Answers) -> dict[str, Any]:
        return self._head.under("text_completion", [], usage=answers.usage())

    def whole(self, answers: Answers) -> dict[str, Any]:
        choices = [self._choice(index, answers) for index in range(len(answers.each))]
        numbers = {"usage": answers.usage(), "timings": answers.each[0].timings()}
        return self._head.under("text_completion", choices, **numbers)

    def _choice(self, index: int, answers: Answers) -> dict[str, Any]:
        answer, told, more = answers.each[index], None, {}
        if self._told:
            told = self._of(index, answer.logprobs, answer.offsets)
            told = joined(self._of_echo(index, answers), told)
        if self._prompt_top is not None:
            tokens = answers.prompt(index) or ()
            more["prompt_logprobs"] = of_prompt(self._codec, tokens, self._prompt_top)
        text = self._echoes[index] + answer.text
        return {**_text_choice(index, text, told, answer.finish_reason), **more}

    def _of(
        self, index: int, tokens: Sequence[TokenLogprobs], offsets: Sequence[int]
    ) -> dict[str, Any]:
        first = len(self._echoes[index])
        return of_completion(self._codec, tokens, [first + offset for offset in offsets])

    def _of_echo(self, index: int, answers: Answers) -> dict[str, Any] | None:
        echo, tokens = self._echoes[index], answers.prompt(index)
        if not (self._told and echo and tokens is not None):
            return None
        ids = answers.asked.prompts[index // answers.asked.copies]
        return of_echo(self._codec, ids, echo, tokens)

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self._head.under("text_completion", [choice], **self._more)


def _text_choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
