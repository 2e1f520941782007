"""A message on its way in, and what is asked for with it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chat import engine
from chat.errors import MAX_TEXT, EmptyInput, InputTooLong, check_unicode
from inference.types import SamplingParams


@dataclass(frozen=True, slots=True)
class Wording:
    """How a conversation is put to a model that is told of tools. codec: the model's, which renders
    them too. mark: what the turn's record knows them by. opening: tokens that the answer has begun
    with."""

    codec: engine.PromptCodec
    mark: str
    opening: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """A message on its way in. newest: answer the end of what is shown instead of
    `parent_id`. attended: the answer is for a caller who waits for it, and is not written on for
    nobody. files: ids of files that are attached to it. settings: of a session that begins with it;
    None: as the owner's default preset says. history: messages in front of it that come with it,
    [{role, content}, ...]. system: said to the model for this turn alone, before the session's own
    system prompt. request: what the caller wants to be told again of its call. wording: with tools.
    spoken: what the model reads in place of history and text, where it is not the same. logprobs:
    likelier tokens that are told of beside each one; None: nothing is."""

    text: str
    model: str
    session_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    newest: bool = False
    attended: bool = False
    client_id: str | None = None
    files: tuple[uuid.UUID, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    history: tuple[dict[str, str], ...] = ()
    system: str = ""
    request: Mapping[str, Any] | None = None
    wording: Wording | None = None
    spoken: tuple[dict[str, Any], ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Regeneration:
    """Another answer beside `message_id`, by any model. attended: as of a `Submission`."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    model: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    attended: bool = False


def check_text(text: str, *, with_files: bool = False) -> None:
    """Raises InputTooLong, InvalidRequest, and EmptyInput unless there are files to read."""
    check_length(text)
    if not text.strip() and not with_files:
        raise EmptyInput("input")
    check_unicode("input", text)


def check_kept(name: str, value: Any) -> None:
    """All texts in something that is kept as JSON. Raises InvalidRequest."""
    if isinstance(value, str):
        check_unicode(name, value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            check_kept(name, key)
            check_kept(name, each)
    elif isinstance(value, list | tuple):
        for each in value:
            check_kept(name, each)


def check_length(text: str) -> None:
    """Raises InputTooLong."""
    if len(text) > MAX_TEXT:
        raise InputTooLong("input", len(text))


def default_sampling(model: str) -> SamplingParams:
    """What the catalogue says for this model."""
    return engine.client().defaults(model)
