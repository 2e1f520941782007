"""What a client tells an engine worker and what it hears, on a thread or across a pipe.

A ticket is a number that the client gives out once: what is said about a command carries the
command's. A request's own name may be somebody else's too. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.errors import EngineError
from inference.types import EngineEvent, GenerateRequest


@dataclass(frozen=True, slots=True)
class Submit:
    """Answered by the request's events, `Finished` or an error last. directory: the model's."""

    ticket: int
    request: GenerateRequest
    directory: Path


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop the request that was submitted with this ticket, if it is still there. No answer."""

    ticket: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Have a model's engine ready. Answered by a Report or an error."""

    ticket: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Look:
    """Answered by a Report."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Forget:
    """These sessions were deleted. Answered by a Report when nothing is left of them: none of their
    text is found in a cache, and their files are gone."""

    ticket: int
    sessions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell every reader that the engine has stopped, save what sessions have computed, and end. No
    answer."""


Command = Submit | Cancel | Load | Look | Forget | Stop


@dataclass(frozen=True, slots=True)
class EngineState:
    """One model's engine between two steps."""

    directory: Path
    is_idle: bool
    free_blocks: int
    total_blocks: int


@dataclass(frozen=True, slots=True)
class Report:
    """The engines that are loaded."""

    engines: tuple[EngineState, ...]


Said = EngineEvent | Report | EngineError
Delivery = list[tuple[int, Said]]
"""What was said, each with its ticket, in order."""
