"""The exact tokens a model reads for a turn, spliced onto the tokens of the turn before.

An answer is never tokenized again: its text can have other tokens than those that were generated,
and the KV cache, the record and the model's own state all speak of the generated ones. So a
prompt is the previous prompt, the previous answer, and the tokens of what the chat template puts
after that answer. Pure functions; text that does not fit is refused, never cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chat.tracing.recorder import span
from inference.errors import ContextLengthExceeded
from inference.types import ModelKind

Message = dict[str, Any]

# Texts that a tokenizer keeps apart from what follows, in the order in which they are tried.
ANCHORS = ("\n", ".", "a")


class Codec(Protocol):
    """The part of `inference.client.PromptCodec` that prompts are made with."""

    @property
    def kind(self) -> ModelKind: ...
    @property
    def context_length(self) -> int: ...
    @property
    def eos_ids(self) -> frozenset[int]: ...
    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str: ...
    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, slots=True)
class Splice:
    """ids: the prompt. appended: whether it begins, id by id, with the previous prompt and answer;
    False when the chat template rewrites what came before, so that all was tokenized again."""

    ids: list[int]
    appended: bool


def first_prompt(codec: Codec, messages: Sequence[Message]) -> list[int]:
    """The prompt of a conversation that has no tokens yet (or has another model's).

    messages: [{role, content}, ...], the new user message last. Raises ContextLengthExceeded, and
    InvalidParameter for text or roles that the model cannot take.
    """
    with span("prompt", messages=len(messages)):
        if codec.kind is ModelKind.COMPLETION:
            text = "".join(message["content"] for message in messages)
            return _fitting(codec, codec.encode(text, add_special_tokens=True))
        return _fitting(codec, codec.encode(codec.render(messages, add_generation_prompt=True)))


def next_prompt(
    codec: Codec,
    previous_prompt_ids: Sequence[int],
    previous_output_ids: Sequence[int],
    messages: Sequence[Message],
) -> list[int]:
    """The prompt of a later turn. messages: the whole branch, with the previous answer and the new
    user message at its end. Raises what `first_prompt` raises."""
    with span("prompt spliced", messages=len(messages)):
        return splice(codec, previous_prompt_ids, previous_output_ids, messages).ids


def splice(
    codec: Codec,
    previous_prompt_ids: Sequence[int],
    previous_output_ids: Sequence[int],
    messages: Sequence[Message],
) -> Splice:
    """`next_prompt`, and how it was made."""
    before = [*previous_prompt_ids, *previous_output_ids]
    if codec.kind is ModelKind.COMPLETION:
        tail_ids = encode_after_text(codec, messages[-1]["content"])
    else:
        tail = _tail(codec, messages)
        if tail is None:
            return Splice(first_prompt(codec, messages), appended=False)
        tail_ids = _without_end_of_turn(codec, before, encode_after_text(codec, tail))
    return Splice(_fitting(codec, before + tail_ids), appended=True)


def continue_prompt(
    previous_prompt_ids: Sequence[int],
    previous_output_ids: Sequence[int],
    *,
    answer_start: int | None = None,
) -> tuple[list[int], int]:
    """The prompt that goes on with an unfinished answer, and the index at which the answer begins.

    answer_start: that index in the previous prompt, when it was itself going on with this answer.
    """
    start = len(previous_prompt_ids) if answer_start is None else answer_start
    return [*previous_prompt_ids, *previous_output_ids], start


def _fitting(codec: Codec, ids: list[int]) -> list[int]:
    if len(ids) >= codec.context_length:
        raise ContextLengthExceeded(len(ids), codec.context_length)
    return ids


def _tail(codec: Codec, messages: Sequence[Message]) -> str | None:
    """What the template puts after the last answer, or None when it changes what is before it.

    A sentinel in the answer's place shows where the answer ends. The template must put in front of
    it what it put there before the answer was made, and show the answer once and as it is (spaces
    around it apart), not without its thinking, say.
    """
    index = _last_answer(messages)
    if index is None:
        return None
    before, answer, after = messages[:index], messages[index], messages[index + 1 :]
    sentinel = _sentinel(messages)

    def rendered(content: str) -> str:
        conversation = [*before, {**answer, "content": content}, *after]
        return codec.render(conversation, add_generation_prompt=True)

    head, *tails = rendered(sentinel).split(sentinel)
    if not tails or head != codec.render(before, add_generation_prompt=True):
        return None
    content = answer["content"].strip()
    if rendered(content) != head + content + tails[0]:
        return None
    return tails[0]


def _last_answer(messages: Sequence[Mapping[str, Any]]) -> int | None:
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return answers[-1] if answers else None


def _sentinel(messages: Sequence[Message]) -> str:
    """A word that no message contains."""
    contents = "\n".join(message["content"] for message in messages)
    number = 0
    while (sentinel := f"TINYLLM-ANSWER-{number}-ENDS") in contents:
        number += 1
    return sentinel


def _without_end_of_turn(codec: Codec, before: Sequence[int], tail: list[int]) -> list[int]:
    """The tail without the end-of-turn token that the model wrote itself (and without the space
    that some templates put in front of it)."""
    end = before[-1]
    if end not in codec.eos_ids or end not in tail:
        return tail
    index = tail.index(end)
    return tail if codec.decode(tail[:index]).strip() else tail[index + 1 :]


def encode_after_text(codec: Codec, text: str) -> list[int]:
    """Tokens of text that goes on after other text. A sentencepiece-like tokenizer begins whatever
    it encodes with a space, so there the text is encoded after an anchor, which is cut off."""
    if codec.decode(codec.encode("a") * 2) == "aa":
        return codec.encode(text)
    for anchor in ANCHORS:
        before = codec.encode(anchor)
        ids = codec.encode(anchor + text)
        if ids[: len(before)] == before:
            return ids[len(before) :]
    return codec.encode(text)
