"""What a client tells an engine worker and what it hears, on a thread or across a pipe.

A ticket is a number that the client gives out once: what is said about a command carries the
command's. A request's own name may be somebody else's too. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.errors import EngineError
from inference.latencies import Latencies
from inference.types import EngineEvent, GenerateRequest


@dataclass(frozen=True, slots=True)
class Submit:
    """Answered by the request's events, `Finished` or an error last. directory: the model's."""

    ticket: int
    request: GenerateRequest
    directory: Path


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop the request that was submitted with this ticket, if it is still there. No answer.
    asked_at: when, by the clock that all processes of a machine share (`time.monotonic`)."""

    ticket: int
    request_id: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Load:
    """Have a model's engine ready, if there is room for it without unloading another. Answered by
    a Report, when it is or there is none, or by an error."""

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


@dataclass(frozen=True, slots=True)
class Wake:
    """Look at what has been read of a model that is being loaded. No answer; never sent from
    outside."""


Command = Submit | Cancel | Load | Look | Forget | Stop | Wake


@dataclass(frozen=True, slots=True)
class EngineState:
    """One model's engine between two steps. size: bytes of what is unloaded with it. stays_s:
    seconds until then, if nobody asks for it; None: it is busy, or stays for ever."""

    directory: Path
    is_idle: bool
    free_blocks: int
    total_blocks: int
    size: int
    running: int
    waiting: int
    preemptions: int
    stays_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The engines that are loaded, and what is on its way into memory: its directory and bytes.
    waiting: how many requests wait for the model of a directory. budget: bytes for all of them.
    cancels: from a reader's leaving to free blocks."""

    engines: tuple[EngineState, ...]
    loading: tuple[Path, int] | None
    waiting: Mapping[Path, int]
    device: str
    budget: int
    cancels: Latencies


Said = EngineEvent | Report | EngineError
NEWS = 0
"""The ticket of what nobody asked for: a Report, whenever a model was loaded or unloaded."""
Delivery = list[tuple[int, Said]]
"""What was said, each with its ticket, in order."""
