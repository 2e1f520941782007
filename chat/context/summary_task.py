"""What is asked of a model for a summary: the conversation as it has read it, and the instruction.

Where it can, the prompt goes on from the tokens of the turn that ends what is summarised: those are
in the cache.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chat.context.reading import Asked, Memory, Reading, opened, record_of, usable
from chat.context.words import instruction
from chat.prompt_selectors import KnownSummary, PromptContext, turn_of
from chat.prompting import Message, first_prompt, next_prompt
from inference.errors import ContextLengthExceeded
from inference.types import SamplingParams


@dataclass(frozen=True, slots=True)
class SummaryTask:
    """A summary of all messages up to `message_id`, so many from the oldest, that is made before a
    turn is read. kept: the messages that the turn reads as they are. replaced: about how many
    tokens the summary stands for."""

    asked: Asked
    prompt_ids: tuple[int, ...]
    message_id: uuid.UUID
    messages: int
    kept: Sequence[Message]
    replaced: int

    @property
    def sampling(self) -> SamplingParams:
        """The likeliest words, so the same conversation has the same summary; a little less likely
        where they were said before, since a small model goes in circles otherwise."""
        most = self.asked.summary_tokens
        return SamplingParams(temperature=0, repetition_penalty=1.1, seed=0, max_tokens=most)

    @property
    def most_tokens(self) -> int:
        """That it can cost, with its place in the turn's prompt."""
        return len(self.prompt_ids) + 2 * self.asked.summary_tokens

    def prompt_with(self, summary: KnownSummary) -> list[int]:
        """Of the turn. Raises ContextLengthExceeded."""
        ids = first_prompt(self.asked.codec, [*self.asked.system(summary), *self.kept])
        return opened(self.asked, ids)


def with_task(
    asked: Asked, context: PromptContext, messages: Sequence[Message], reading: Reading
) -> tuple[Reading, SummaryTask | None]:
    """The reading, and the summary that is to be made before. Where none can be asked for, the
    reading says that it is missing."""
    if reading.due is None:
        return reading, None
    first = reading.memory.first
    prompt = _prompt(asked, context, messages[:first], reading.due)
    if prompt is None:
        record = record_of(asked, reading.memory, None) | {"summary_missing": "failed"}
        return replace(reading, record=record, due=None), None
    task = SummaryTask(
        asked=asked,
        prompt_ids=tuple(prompt),
        message_id=context.ids[first - 1],
        messages=first,
        kept=messages[first:],
        replaced=len(prompt),
    )
    return reading, task


def _prompt(
    asked: Asked, context: PromptContext, messages: Sequence[Message], due: Memory
) -> list[int] | None:
    """None where not even the newest of the turns fits beside the instruction."""
    said = messages[due.first :]
    text = "\n".join(message["content"] for message in said)
    words = instruction(text, has_earlier=due.summary is not None)
    asking: Message = {"role": "user", "content": words}
    before = turn_of(message_id=context.ids[len(messages) - 1])
    previous, memory = usable(asked, replace(context, previous=before))
    starts = [index for index, message in enumerate(said) if message["role"] == "user"]
    for start in starts:  # the oldest are left out where all is too much
        body = [*asked.system(due.summary), *said[start:], asking]
        try:
            if previous is not None and memory == due and start == 0:
                ids = next_prompt(asked.codec, previous.prompt_ids, previous.output_ids, body)
            else:
                ids = first_prompt(asked.codec, body)
        except ContextLengthExceeded:
            continue
        if len(ids) + asked.summary_tokens <= asked.codec.context_length:
            return ids
    return None
