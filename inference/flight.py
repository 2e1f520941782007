"""What an engine has in flight: requests, and steps that were launched."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from inference.detokenizer import Detokenizer
from inference.runner import Step
from inference.sequence import Sequence


@dataclass(slots=True)
class Active:
    """A request in flight. Times are of one monotonic clock, in seconds."""

    sequence: Sequence
    detokenizer: Detokenizer
    text_length: int = 0
    position: int = 0
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that was launched. done: tokens of its sequence in the cache once it has run.
    index: which of the step's tokens is its own, None if the prompt goes on."""

    active: Active
    done: int
    index: int | None
    is_partial: bool


@dataclass(frozen=True, slots=True)
class Launched:
    """A step, and the pieces that it computes."""

    step: Step
    pieces: list[Piece]
