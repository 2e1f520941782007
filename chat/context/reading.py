"""What a model reads for a turn: the system prompt, and as much of the conversation as it shall.

A prompt is spliced onto the tokens of the turn before it (`chat.prompting`) as long as what stands
in front is the same. With another system prompt, another model, or another oldest message it is
made anew from the texts, once; the turns after it are appended again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat import engine
from chat.prompt_selectors import PreviousTurn, PromptContext
from chat.prompting import Message, first_prompt, next_prompt
from chat.session_settings.values import WhenFull
from inference.errors import ContextLengthExceeded
from inference.types import ModelKind

RESERVED = 4
"""At most this part of the context is kept free for an answer that may be longer."""
KEPT = (3, 4)
"""Where the oldest turns are left out, so much of the rest of the context stays in use: what was
read is of no use to the next prompt then, so there is room for some turns before the next time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is to be read with. max_tokens: of the answer; None: as many as fit."""

    codec: engine.PromptCodec
    model: str
    system_prompt: str = ""
    when_full: WhenFull = "refuse"
    max_tokens: int | None = None

    @property
    def spoken(self) -> str:
        """The system prompt as far as the model has one."""
        return "" if self.codec.kind is ModelKind.COMPLETION else self.system_prompt

    @property
    def system(self) -> list[Message]:
        return [{"role": "system", "content": self.spoken}] if self.spoken else []

    @property
    def room(self) -> int:
        """Tokens that a prompt may have before the oldest turns are left out."""
        length = self.codec.context_length
        reserve = length // RESERVED
        return length - (reserve if self.max_tokens is None else min(reserve, self.max_tokens))


@dataclass(frozen=True, slots=True)
class Reading:
    """ids: the prompt. first: how many of the oldest messages are not in it. record: what the
    generation keeps beside the tokens. appended: whether `ids` goes on from the turn before."""

    ids: list[int]
    first: int
    record: dict[str, Any]
    appended: bool


def same_tokens(codec: engine.PromptCodec, previous: PreviousTurn) -> bool:
    """Whether stored token ids still mean the same: same tokenizer, same template."""
    now = engine.fingerprint(codec)
    return all(now[part] == previous.fingerprint.get(part) for part in ("tokenizer", "template"))


def read(asked: Asked, context: PromptContext, messages: Sequence[Message]) -> Reading:
    """The prompt for `messages`, which are those of `context` with what is new behind them.

    Raises ContextLengthExceeded, also where the oldest turns may be left out and the newest message
    alone is too long, and InvalidParameter.
    """
    previous, first = usable(asked, context)
    if asked.when_full == "slide" and len(messages) > 1:
        length = _length(asked, previous, messages, first)
        if length > asked.room:
            previous, first = None, _slide(asked, messages, first)
    ids = _prompt(asked, previous, messages, first)
    record = {"system_prompt": asked.spoken, "left_out": first}
    return Reading(ids, first, record, previous is not None)


def usable(asked: Asked, context: PromptContext) -> tuple[PreviousTurn | None, int]:
    """The turn before, if the prompt may be spliced onto it, and how many of the oldest messages
    stay left out as they were for it."""
    previous = context.previous
    if previous is None or previous.model != asked.model:
        return None, 0
    then = previous.context
    first: int = then.get("left_out", 0)
    if first and asked.when_full == "refuse":  # all is to be read again, and nothing left out
        return None, 0
    is_same = then.get("system_prompt", "") == asked.spoken and same_tokens(asked.codec, previous)
    return (previous if is_same else None), first


def tokens_of(asked: Asked, messages: Sequence[Message]) -> int:
    """Of these messages behind the system prompt, with no answer begun."""
    codec, said = asked.codec, [*asked.system, *messages]
    if codec.kind is ModelKind.COMPLETION:
        text = "".join(message["content"] for message in said)
        return len(codec.encode(text, add_special_tokens=True))
    return len(codec.encode(codec.render(said, add_generation_prompt=False)))


def _prompt(
    asked: Asked, previous: PreviousTurn | None, messages: Sequence[Message], first: int
) -> list[int]:
    said = [*asked.system, *messages[first:]]
    if previous is None:
        return first_prompt(asked.codec, said)
    return next_prompt(asked.codec, previous.prompt_ids, previous.output_ids, said)


def _length(
    asked: Asked, previous: PreviousTurn | None, messages: Sequence[Message], first: int
) -> int:
    try:
        return len(_prompt(asked, previous, messages, first))
    except ContextLengthExceeded as error:
        return int(error.fields["prompt_tokens"])


def _slide(asked: Asked, messages: Sequence[Message], first: int) -> int:
    """The index of the oldest message with which the prompt has room again; whole turns go, the
    newest message stays."""
    is_text = asked.codec.kind is ModelKind.COMPLETION
    starts = [
        index
        for index, message in enumerate(messages)
        if index > first and (is_text or message["role"] == "user")
    ]
    part, whole = KEPT
    enough = asked.room * part // whole

    def is_short(at: int) -> bool:
        return _length(asked, None, messages, at) <= enough

    if not starts or not is_short(starts[-1]):  # a very long message is not read again and again
        return starts[-1] if starts else first
    return starts[bisect_left(starts, True, key=is_short)]
