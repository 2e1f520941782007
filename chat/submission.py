"""A message on its way in: checked, put in its place in the tree, and turned into a prompt."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chat import engine, selectors
from chat.database import in_database
from chat.errors import MAX_TEXT, EmptyInput, InputTooLong, check_unicode
from chat.prompting import first_prompt, next_prompt
from chat.selectors import PreviousTurn, PromptContext
from inference.types import SamplingParams

SHORT = 4000
"""Characters of a conversation whose prompt is made on the event loop."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A message on its way in. newest: answer the newest message instead of `parent_id`. attended:
    the answer is for a caller who waits for it, and is not written on for nobody."""

    text: str
    model: str
    session_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    newest: bool = False
    attended: bool = False
    client_id: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)


def check_text(text: str) -> None:
    """Raises EmptyInput, InputTooLong, InvalidRequest."""
    if len(text) > MAX_TEXT:
        raise InputTooLong("input", len(text))
    if not text.strip():
        raise EmptyInput("input")
    check_unicode("input", text)


def default_sampling(model: str) -> SamplingParams:
    """What the catalogue says for this model."""
    infos = engine.client().models()
    return next((info.defaults for info in infos if info.name == model), SamplingParams())


async def context_of(owner_id: uuid.UUID, submission: Submission) -> PromptContext:
    """What the message answers. Raises SessionNotFound, MessageNotFound."""
    if submission.session_id is None:
        return PromptContext(None, [], None)
    return await in_database(
        selectors.prompt_context,
        owner_id=owner_id,
        session_id=submission.session_id,
        parent_id=submission.parent_id,
        newest=submission.newest,
    )


async def prompt_of(
    codec: engine.PromptCodec,
    model: str,
    previous: PreviousTurn | None,
    messages: list[dict[str, str]],
) -> list[int]:
    """`prompt_ids`, off the event loop where it is long: about a millisecond of work is done at
    once, since a thread costs as much."""
    if sum(len(message["content"]) for message in messages) <= SHORT:
        return prompt_ids(codec, model, previous, messages)
    return await asyncio.to_thread(prompt_ids, codec, model, previous, messages)


def prompt_ids(
    codec: engine.PromptCodec,
    model: str,
    previous: PreviousTurn | None,
    messages: list[dict[str, str]],
) -> list[int]:
    """The exact tokens to read, spliced onto the last turn's where they still mean the same.

    Raises ContextLengthExceeded, InvalidParameter.
    """
    if previous is not None and previous.model == model and same_tokens(codec, previous):
        return next_prompt(codec, previous.prompt_ids, previous.output_ids, messages)
    return first_prompt(codec, messages)


def same_tokens(codec: engine.PromptCodec, previous: PreviousTurn) -> bool:
    """Whether stored token ids still mean the same: same tokenizer, same template."""
    now = engine.fingerprint(codec)
    return all(now[part] == previous.fingerprint.get(part) for part in ("tokenizer", "template"))
