"""A message on its way in: checked, put in its place in the tree, and turned into a prompt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chat import engine
from chat.errors import MAX_TEXT, EmptyInput, InputTooLong, check_unicode
from chat.prompting import first_prompt, next_prompt
from chat.selectors import PreviousTurn
from inference.types import SamplingParams


@dataclass(frozen=True, slots=True)
class Submission:
    """A message on its way in. newest: answer the end of what is shown instead of
    `parent_id`. attended: the answer is for a caller who waits for it, and is not written on for
    nobody. files: ids of files that are attached to it."""

    text: str
    model: str
    session_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    newest: bool = False
    attended: bool = False
    client_id: str | None = None
    files: tuple[uuid.UUID, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Regeneration:
    """Another answer beside `message_id`, by any model."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    model: str
    sampling: Mapping[str, Any] = field(default_factory=dict)


def check_text(text: str, *, with_files: bool = False) -> None:
    """Raises InputTooLong, InvalidRequest, and EmptyInput unless there are files to read."""
    if len(text) > MAX_TEXT:
        raise InputTooLong("input", len(text))
    if not text.strip() and not with_files:
        raise EmptyInput("input")
    check_unicode("input", text)


def default_sampling(model: str) -> SamplingParams:
    """What the catalogue says for this model."""
    infos = engine.client().models()
    return next((info.defaults for info in infos if info.name == model), SamplingParams())


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
