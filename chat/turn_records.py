"""A turn in plain values: what it is to run, the rows that it has, and how it ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.files.services import Shown


@dataclass(frozen=True, slots=True)
class TurnPlan:
    """What a turn will run, decided before anything is written. shown: of files. content: the text
    that a new answer begins with, whose tokens (at prefix_offsets in it) are the last of
    prompt_ids."""

    model: str
    prompt_ids: Sequence[int]
    sampling: dict[str, Any]
    fingerprint: dict[str, str]
    process: str
    request_id: str
    context: dict[str, Any] = field(default_factory=dict)
    shown: Shown | None = None
    content: str = ""
    prefix_offsets: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """The rows of a turn that has begun. seq and payload: of its turn.started event. content: the
    answer's text so far (empty unless it is being continued)."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    generation_id: uuid.UUID
    seq: int
    content: str
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended. content: the whole message; the rest is of this generation alone."""

    status: str
    content: str
    output_ids: Sequence[int]
    token_offsets: Sequence[int]
    finish_reason: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    seed: int | None = None
    deterministic: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    error: dict[str, Any] | None = None
