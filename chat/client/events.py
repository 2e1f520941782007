"""What a stream tells, in this order: Started; Queued, Loading and Progress, as often as they
change; Text; End."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Started:
    """The answer has a place in its session. user_message_id: None where nothing was said."""

    session_id: str
    message_id: str
    user_message_id: str | None
    title: str


@dataclass(frozen=True, slots=True)
class Queued:
    """So many requests are in front of this one."""

    position: int


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is on its way into memory, in bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The prompt is being read, in tokens."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """In tokens. cached_tokens: of the prompt, that had been read before."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class End:
    """status: DONE, STOPPED or FAILED. timings: in seconds. error: why it failed, with `code` and
    `message`."""

    status: str
    finish_reason: str
    usage: Usage
    timings: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    error: dict[str, Any] | None = None
    can_continue: bool = False


Event = Started | Queued | Loading | Progress | Text | End


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. text: what was written now, without what it goes on from."""

    text: str
    started: Started
    end: End
