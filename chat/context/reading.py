"""What a model reads for a turn: the system prompt, and as much of the conversation as it shall.

A prompt is spliced onto the tokens of the turn before it (`chat.prompting`) as long as what stands
in front is the same. With another system prompt, another model, another oldest message or another
summary it is made anew from the texts, once; the turns after it are appended again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat import engine
from chat.context.words import headed
from chat.prompt_selectors import KnownSummary, PreviousTurn, PromptContext
from chat.prompting import Message, first_prompt, next_prompt
from chat.session_settings.values import WhenFull
from inference.errors import ContextLengthExceeded
from inference.types import ModelKind

RESERVED = 4
"""At most this part of the context is kept free for an answer that may be longer."""
KEPT = (3, 4)
"""Where the oldest turns are left out, so much of the rest of the context stays in use: what was
read is of no use to the next prompt then, so there is room for some turns before the next time."""
SUMMARY = 8
"""At most this part of the context is a summary's."""
MOST_OF_SUMMARY = 256
"""Tokens."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is to be read with. max_tokens: of the answer; None: as many as fit. tools: what
    the record knows those by that the model is told of; opening: tokens that its answer has begun
    with."""

    codec: engine.PromptCodec
    model: str
    system_prompt: str = ""
    when_full: WhenFull = "refuse"
    max_tokens: int | None = None
    tools: str = ""
    opening: tuple[int, ...] = ()

    @property
    def spoken(self) -> str:
        """The system prompt as far as the model has one."""
        return "" if self.codec.kind is ModelKind.COMPLETION else self.system_prompt

    def system(self, summary: KnownSummary | None = None) -> list[Message]:
        """What stands in front of the conversation: the system prompt, and the summary of what is
        not read."""
        parts = [self.spoken, headed(summary.text) if summary else ""]
        content = "\n\n".join(filter(None, parts))
        return [{"role": "system", "content": content}] if content else []

    @property
    def summarises(self) -> bool:
        """A model that goes on with a text follows no instruction: there the oldest turns are left
        out."""
        return self.when_full == "summarise" and self.codec.kind is not ModelKind.COMPLETION

    @property
    def summary_tokens(self) -> int:
        return min(MOST_OF_SUMMARY, self.codec.context_length // SUMMARY)

    @property
    def room(self) -> int:
        """Tokens that a prompt may have before the oldest turns are left out. Those that are to be
        summarised must leave room for that too."""
        length = self.codec.context_length
        reserve = length // RESERVED
        answer = reserve if self.max_tokens is None else min(reserve, self.max_tokens)
        return length - max(answer, self.summary_tokens * 5 // 4 if self.summarises else 0)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is read of a conversation: its messages from `first` on, counted from the oldest, and
    the summary that stands for those before."""

    first: int = 0
    summary: KnownSummary | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """ids: the prompt. record: what the generation keeps beside the tokens. appended: whether `ids`
    goes on from the turn before. due: what was read until now, where a summary is to be made of
    it, up to `memory.first`, before the turn is read; `ids` is without it."""

    ids: list[int]
    memory: Memory
    record: dict[str, Any]
    appended: bool
    due: Memory | None = None


def same_tokens(codec: engine.PromptCodec, previous: PreviousTurn) -> bool:
    """Whether stored token ids still mean the same: same tokenizer, same template."""
    now = engine.fingerprint(codec)
    return all(now[part] == previous.fingerprint.get(part) for part in ("tokenizer", "template"))


def read(asked: Asked, context: PromptContext, messages: Sequence[Message]) -> Reading:
    """The prompt for `messages`, which are those of `context` with what is new behind them.

    Raises ContextLengthExceeded, also where the oldest turns may be left out and the newest message
    alone is too long, and InvalidParameter.
    """
    previous, memory = usable(asked, context)
    due, may_forget = None, asked.when_full != "refuse" and len(messages) > 1
    if may_forget and _length(asked, previous, messages, memory) > asked.room:
        previous = None
        memory, due = _shortened(asked, context, messages, memory)
    ids = _prompt(asked, previous, messages, memory)
    return Reading(ids, memory, record_of(asked, memory, due), previous is not None, due)


def record_of(asked: Asked, memory: Memory, due: Memory | None) -> dict[str, Any]:
    """What `usable` knows the prompt by when the next one is made."""
    record: dict[str, Any] = {"system_prompt": asked.spoken, "left_out": memory.first}
    if asked.tools:
        record["tools"] = asked.tools
    if memory.summary:
        record["summary"] = str(memory.summary.id)
    return record if due is None else record | {"summary_missing": "unfinished"}


def usable(asked: Asked, context: PromptContext) -> tuple[PreviousTurn | None, Memory]:
    """The turn before, if the prompt may be spliced onto it, and what is read as it was for it."""
    previous = context.previous
    if previous is None or previous.model != asked.model:
        return None, Memory()
    then = previous.context
    first: int = then.get("left_out", 0)
    if first and asked.when_full == "refuse":  # all is to be read again, and nothing left out
        return None, Memory()
    if asked.summarises and then.get("summary_missing") == "unfinished":
        return None, Memory()
    known = {str(each.id): each for each in context.summaries} if asked.summarises else {}
    summary = known.get(then.get("summary", ""))
    is_same = (
        then.get("system_prompt", "") == asked.spoken
        and then.get("tools", "") == asked.tools
        and then.get("summary") == (str(summary.id) if summary else None)
        and same_tokens(asked.codec, previous)
    )
    return (previous if is_same else None), Memory(first, summary)


def tokens_of(asked: Asked, messages: Sequence[Message], summary: KnownSummary | None) -> int:
    """Of these messages behind the system prompt, with no answer begun."""
    codec, said = asked.codec, [*asked.system(summary), *messages]
    if codec.kind is ModelKind.COMPLETION:
        text = "".join(message["content"] for message in said)
        return len(codec.encode(text, add_special_tokens=True))
    return len(codec.encode(codec.render(said, add_generation_prompt=False)))


def _prompt(
    asked: Asked, previous: PreviousTurn | None, messages: Sequence[Message], memory: Memory
) -> list[int]:
    said = [*asked.system(memory.summary), *messages[memory.first :]]
    if previous is None:
        return opened(asked, first_prompt(asked.codec, said))
    return opened(asked, next_prompt(asked.codec, previous.prompt_ids, previous.output_ids, said))


def opened(asked: Asked, ids: list[int]) -> list[int]:
    """A prompt with the beginning of its answer. Raises ContextLengthExceeded."""
    ids = [*ids, *asked.opening]
    if len(ids) >= asked.codec.context_length:
        raise ContextLengthExceeded(len(ids), asked.codec.context_length)
    return ids


def _length(
    asked: Asked, previous: PreviousTurn | None, messages: Sequence[Message], memory: Memory
) -> int:
    try:
        return len(_prompt(asked, previous, messages, memory))
    except ContextLengthExceeded as error:
        return int(error.fields["prompt_tokens"])


def _shortened(
    asked: Asked, context: PromptContext, messages: Sequence[Message], memory: Memory
) -> tuple[Memory, Memory | None]:
    """What is read where it is too long as it is in `memory`, and what is to be summarised."""
    if not asked.summarises:
        return Memory(_slide(asked, messages, memory.first)), None
    for known in context.summaries:
        if memory.first < known.messages < len(messages):
            memory = Memory(known.messages, known)
    if _length(asked, None, messages, memory) <= asked.room:  # made for another version of the turn
        return memory, None
    first = _slide(asked, messages, memory.first, spare=asked.summary_tokens)
    if first == memory.first:
        return memory, None
    kept = Memory(first, memory.summary)  # an older summary is better than none, if there is room
    is_long = _length(asked, None, messages, kept) > asked.room
    return (Memory(first) if is_long else kept), memory


def _slide(asked: Asked, messages: Sequence[Message], first: int, spare: int = 0) -> int:
    """The index of the oldest message with which the prompt has room again, and room for `spare`
    tokens more; whole turns go, the newest message stays."""
    is_text = asked.codec.kind is ModelKind.COMPLETION
    starts = [
        index
        for index, message in enumerate(messages)
        if index > first and (is_text or message["role"] == "user")
    ]
    part, whole = KEPT
    enough = asked.room * part // whole - spare

    def is_short(at: int) -> bool:
        return _length(asked, None, messages, Memory(at)) <= enough

    if not starts or not is_short(starts[-1]):  # a very long message is not read again and again
        return starts[-1] if starts else first
    return starts[bisect_left(starts, True, key=is_short)]
