"""How full the context is, by part, as the next turn would fill it. Counted, not guessed: by the
tokenizer and the template that make the prompt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from chat import prompt_selectors
from chat.context.reading import Asked, Memory, read, tokens_of, usable
from chat.prompt_selectors import KnownSummary, PromptContext
from chat.prompting import Message
from chat.session_settings.presets import default_settings
from chat.session_settings.values import checked, merged, system_prompt, when_full
from inference.errors import ContextLengthExceeded
from inference.types import ModelKind, SamplingParams

MemoryState = Literal["whole", "left_out", "summarised", "to_summarise", "not_summarised"]
"""What a model has of the oldest messages: all, nothing, a summary; a summary that the next turn
will make; nothing more than before, because one could not be made."""


@dataclass(frozen=True, slots=True)
class Count:
    """Tokens. system: what stands in front of the first message. summary: of messages that are not
    read. files: of what is attached. message: the one being written, with what the template puts
    around it. reply: room for the answer. left_out: how many of the oldest messages are no longer
    read, begins: the first that is, unless it is the one being written."""

    context_length: int
    system: int
    summary: int
    files: int
    history: int
    message: int
    reply: int
    left_out: int
    when_full: str
    memory: MemoryState
    summary_text: str
    begins: uuid.UUID | None

    def as_json(self) -> dict[str, Any]:
        names = ("system", "summary", "files", "history", "message", "reply")
        return {
            "context_length": self.context_length,
            "parts": {name: getattr(self, name) for name in names},
            "left_out": self.left_out,
            "when_full": self.when_full,
            "memory": self.memory,
            "summary": self.summary_text,
            "begins": str(self.begins) if self.begins else None,
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
        when_full=when_full(chosen, asked.codec.kind),
        max_tokens=params.max_tokens,
    )
    return counted(asked, context, text)


def counted(asked: Asked, context: PromptContext, text: str) -> Count:
    """`count`, of what was read."""
    said: list[Message] = [{"role": "user", "content": text}] if text.strip() else []
    total, memory, is_due = _total(asked, context, [*context.messages, *said])
    history = _history(asked, context, memory) if said else total
    system = min(_system(asked, None), history)
    summary = max(0, min(_system(asked, memory.summary), history) - system)
    files = min(_files(context, memory.first), history - system - summary)
    left = max(0, asked.codec.context_length - total)
    reply = left if asked.max_tokens is None else min(left, asked.max_tokens)
    ids = context.ids[memory.first :]
    return Count(
        context_length=asked.codec.context_length,
        system=system,
        summary=summary,
        files=files,
        history=history - system - summary - files,
        message=total - history,
        reply=reply,
        left_out=memory.first,
        when_full=asked.when_full,
        memory="to_summarise" if is_due else _state(context, memory),
        summary_text=memory.summary.text if memory.summary else "",
        begins=ids[0] if ids else None,
    )


def _state(context: PromptContext, memory: Memory) -> MemoryState:
    then = context.previous.context if context.previous else {}
    if then.get("summary_missing") == "failed" and then.get("left_out") == memory.first:
        return "not_summarised"
    if memory.summary:
        return "summarised"
    return "left_out" if memory.first else "whole"


def _context(
    owner_id: uuid.UUID, session_id: uuid.UUID | None, settings: Mapping[str, Any] | None
) -> PromptContext:
    if session_id is None:
        own = default_settings(owner_id=owner_id) if settings is None else checked(settings)
        return PromptContext(None, [], None, settings=own)
    return prompt_selectors.prompt_context(
        owner_id=owner_id, session_id=session_id, parent_id=None, newest=True
    )


def _total(
    asked: Asked, context: PromptContext, messages: list[Message]
) -> tuple[int, Memory, bool]:
    """(tokens, what is read, whether a summary is to be made). Longer than the context where it
    would be refused."""
    _previous, memory = usable(asked, context)
    if len(messages) == len(context.messages):  # nothing is being written
        return _history(asked, context, memory), memory, False
    try:
        reading = read(asked, context, messages)
    except ContextLengthExceeded as error:
        is_alone = asked.when_full != "refuse" and len(messages) > 1
        kept = Memory(len(messages) - 1) if is_alone else memory
        return int(error.fields["prompt_tokens"]), kept, False
    return len(reading.ids), reading.memory, reading.due is not None


def _history(asked: Asked, context: PromptContext, memory: Memory) -> int:
    """The system prompt, the summary, and the conversation from there on."""
    previous, was = usable(asked, context)
    if previous is not None and was == memory:
        return len(previous.prompt_ids) + len(previous.output_ids)
    if not context.messages[memory.first :]:
        return _system(asked, memory.summary)
    return tokens_of(asked, context.messages[memory.first :], memory.summary)


def _files(context: PromptContext, first: int) -> int:
    """What was read of files with the messages from there on."""
    read = {message["content"] for message in context.messages[first:]}
    return sum(each.tokens for each in context.readings.values() if each.prompt_text in read)


def _system(asked: Asked, summary: KnownSummary | None) -> int:
    """What the template puts in front of the first message, its own words too where it has some."""
    codec = asked.codec
    if codec.kind is ModelKind.COMPLETION:
        return 0
    mark = uuid.uuid4().hex
    said = [*asked.system(summary), {"role": "user", "content": mark}]
    head, _mark, _tail = codec.render(said, add_generation_prompt=False).partition(mark)
    return len(codec.encode(head))
