"""How full the context is, by part, as the next turn would fill it. Counted, not guessed: by the
tokenizer and the template that make the prompt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chat import prompt_selectors
from chat.context.reading import Asked, Reading, read, tokens_of, usable
from chat.prompt_selectors import PromptContext
from chat.prompting import Message
from chat.session_settings.presets import default_settings
from chat.session_settings.values import checked, merged, system_prompt, when_full
from inference.errors import ContextLengthExceeded
from inference.types import ModelKind, SamplingParams


@dataclass(frozen=True, slots=True)
class Count:
    """Tokens. system: what stands in front of the first message. files: of what is attached.
    message: the one being written, with what the template puts around it. reply: room for the
    answer. left_out: how many of the oldest messages are no longer read."""

    context_length: int
    system: int
    files: int
    history: int
    message: int
    reply: int
    left_out: int
    when_full: str

    def as_json(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("system", "files", "history", "message")}
        return {
            "context_length": self.context_length,
            "parts": {**parts, "reply": self.reply},
            "left_out": self.left_out,
            "when_full": self.when_full,
        }


def count(
    asked: Asked,
    defaults: SamplingParams,
    *,
    owner_id: uuid.UUID,
    session_id: uuid.UUID | None,
    settings: Mapping[str, Any] | None,
    text: str,
) -> Count:
    """For the branch that is shown. settings: those of a session that has not begun.

    Raises SessionNotFound, InvalidRequest, InvalidParameter.
    """
    context = _context(owner_id, session_id, settings)
    chosen = context.settings
    params = merged(defaults, chosen, {})
    asked = replace(
        asked,
        system_prompt=system_prompt(chosen),
        when_full=when_full(chosen),
        max_tokens=params.max_tokens,
    )
    return counted(asked, context, text)


def counted(asked: Asked, context: PromptContext, text: str) -> Count:
    """`count`, of what was read."""
    said: list[Message] = [{"role": "user", "content": text}] if text.strip() else []
    total, first = _total(asked, context, [*context.messages, *said])
    history = _history(asked, context, first) if said else total
    system = min(_system(asked), history)
    files = min(_files(context, first), history - system)
    left = max(0, asked.codec.context_length - total)
    reply = left if asked.max_tokens is None else min(left, asked.max_tokens)
    return Count(
        context_length=asked.codec.context_length,
        system=system,
        files=files,
        history=history - system - files,
        message=total - history,
        reply=reply,
        left_out=first,
        when_full=asked.when_full,
    )


def _context(
    owner_id: uuid.UUID, session_id: uuid.UUID | None, settings: Mapping[str, Any] | None
) -> PromptContext:
    if session_id is None:
        own = default_settings(owner_id=owner_id) if settings is None else checked(settings)
        return PromptContext(None, [], None, settings=own)
    return prompt_selectors.prompt_context(
        owner_id=owner_id, session_id=session_id, parent_id=None, newest=True
    )


def _total(asked: Asked, context: PromptContext, messages: list[Message]) -> tuple[int, int]:
    """(tokens, index of the oldest message). Longer than the context where it would be refused."""
    if len(messages) == len(context.messages):  # nothing is being written
        _previous, first = usable(asked, context)
        return _history(asked, context, first), first
    try:
        reading: Reading = read(asked, context, messages)
    except ContextLengthExceeded as error:
        _previous, first = usable(asked, context)
        is_alone = asked.when_full == "slide" and len(messages) > 1
        return int(error.fields["prompt_tokens"]), len(messages) - 1 if is_alone else first
    return len(reading.ids), reading.first


def _history(asked: Asked, context: PromptContext, first: int) -> int:
    """The system prompt and the conversation from there on."""
    previous, was = usable(asked, context)
    if previous is not None and was == first:
        return len(previous.prompt_ids) + len(previous.output_ids)
    if not context.messages[first:]:
        return _system(asked)
    return tokens_of(asked, context.messages[first:])


def _files(context: PromptContext, first: int) -> int:
    """What was read of files with the messages from there on."""
    read = {message["content"] for message in context.messages[first:]}
    return sum(each.tokens for each in context.readings.values() if each.prompt_text in read)


def _system(asked: Asked) -> int:
    """What the template puts in front of the first message, its own words too where it has some."""
    codec = asked.codec
    if codec.kind is ModelKind.COMPLETION:
        return 0
    mark = uuid.uuid4().hex
    said = [*asked.system, {"role": "user", "content": mark}]
    head, _mark, _tail = codec.render(said, add_generation_prompt=False).partition(mark)
    return len(codec.encode(head))
