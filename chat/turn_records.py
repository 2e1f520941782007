"""A turn in plain values: what it is to run, and the rows that it has."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.files.services import Shown
from chat.usage import Charge, Limits


@dataclass(frozen=True, slots=True)
class TurnPlan:
    """What a turn will run, decided before anything is written. shown: of files. content: the text
    that a new answer begins with, whose tokens (at prefix_offsets in it) are the last of
    prompt_ids. wanted: tokens that its answer may have at most, first: that a summary may cost
    before it. limits: its owner's, where they are known. request: what the call is told again that
    asked for it."""

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
    wanted: int = 0
    first: int = 0
    limits: Limits | None = None
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """The rows of a turn that has begun. seq and payload: of its turn.started event. content: the
    answer's text so far (empty unless it is being continued). charge: what it costs whom."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    generation_id: uuid.UUID
    seq: int
    content: str
    payload: dict[str, Any] = field(default_factory=dict)
    charge: Charge | None = None
