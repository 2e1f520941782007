"""What an engine has in flight: requests, and steps that were launched."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from inference.detokenizer import Detokenizer
from inference.runner import Step
from inference.sequence import Sequence
from inference.types import Timings


@dataclass(slots=True, eq=False)
class Active:
    """A request in flight. ends: tokens that end its answer. over: nobody waits for it any more,
    though a step may still compute it. Times are of one monotonic clock, in seconds."""

    request_id: str
    sequence: Sequence
    detokenizer: Detokenizer
    ends: frozenset[int]
    text_length: int = 0
    position: int = 0
    over: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0

    def is_late(self, now: float) -> bool:
        seconds = self.sequence.request.deadline_s
        return seconds is not None and now - self.arrived > seconds

    def timings(self, now: float) -> Timings:
        """Of an answer that ends now."""
        return Timings(
            queue_s=self.started - self.arrived,
            prefill_s=self.first_token - self.started,
            decode_s=now - self.first_token,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Of a prompt, launched. done: tokens of its sequence in the cache once it has run. index:
    which of the step's tokens is its own, None if the prompt goes on."""

    active: Active
    done: int
    index: int | None
    is_partial: bool


@dataclass(frozen=True, slots=True)
class Launched:
    """A step. decodes: whose next tokens it computes, in the order of its tokens; pieces: of
    prompts that it reads."""

    step: Step
    decodes: tuple[Active, ...]
    pieces: tuple[Piece, ...]
