"""What an engine has in flight: requests, and steps that were launched."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from inference.client import PromptCodec
from inference.detokenizer import Detokenizer
from inference.runner import Step
from inference.sequence import Sequence
from inference.types import EngineSetup, Finished, FinishReason, GenerateRequest, Timings


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

    def finished(
        self, reason: FinishReason, engine: EngineSetup, *, deterministic: bool
    ) -> Finished:
        """What is said of it now that it has ended."""
        sequence, now = self.sequence, time.monotonic()
        return Finished(
            reason=reason,
            prompt_tokens=sequence.prompt_length,
            output_tokens=sequence.output_length,
            cached_tokens=sequence.cached,
            seed=sequence.seed,
            timings=Timings(
                queue_s=self.started - self.arrived,
                prefill_s=self.first_token - self.started,
                decode_s=now - self.first_token,
            ),
            stop_string=self.detokenizer.stop_string,
            deterministic=deterministic,
            engine=engine,
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


def ends_of(request: GenerateRequest, codec: PromptCodec) -> frozenset[int]:
    """The tokens that end its answer."""
    sampling = request.sampling
    eos_ids = frozenset() if sampling.ignore_eos else codec.eos_ids
    return eos_ids.union(sampling.stop_token_ids)
