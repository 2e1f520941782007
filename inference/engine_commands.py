"""What a client tells an engine worker and what it hears, on a thread or across a pipe.

A ticket is a number that the client gives out once: what is said about a command carries the
command's. A request's own name may be somebody else's too. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.errors import EngineError
from inference.examination import Examined, Question
from inference.latencies import Latencies
from inference.request_status import ProcessStatus, RequestStatus, Totals
from inference.types import EngineEvent, GenerateRequest


@dataclass(frozen=True, slots=True)
class Submit:
    """Answered by the request's events, `Finished` or an error last. directory: the model's."""

    ticket: int
    request: GenerateRequest
    directory: Path


@dataclass(frozen=True, slots=True)
class Examine:
    """Answered by what was found, or an error. directory: the model's."""

    ticket: int
    question: Question
    directory: Path


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nobody waits for the answer to this ticket's Examine any more. No answer."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop what was asked with this ticket, if it is still there: a request, or a Load that waits
    (request_id is empty then). No answer.
    asked_at: when, by the clock that all processes of a machine share (`time.monotonic`)."""

    ticket: int
    request_id: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Load:
    """Have a model's engine ready. makes_room: as a request would, others that are idle go for it,
    and it waits for those that are not; else only if there is room beside them. Answered by a
    Report, when it is ready or there is no room, or by an error."""

    ticket: int
    directory: Path
    makes_room: bool = False


@dataclass(frozen=True, slots=True)
class Unload:
    """Take a model out of memory, if it is there. Answered by a Report, or by ModelBusy."""

    ticket: int
    directory: Path


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """From now on models stay for so long that nobody asks for. No answer."""

    seconds: float


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


Command = (
    Submit | Cancel | Load | Unload | KeepAlive | Look | Forget | Examine | Withdraw | Stop | Wake
)


@dataclass(frozen=True, slots=True)
class EngineState:
    """One model's engine between two steps. size: bytes of what is unloaded with it. stays_s:
    seconds until then, if nobody asks for it; None: it is busy, or stays for ever."""

    directory: Path
    is_idle: bool
    free_blocks: int
    total_blocks: int
    size: int
    stays_s: float | None
    weights: int = 0
    cache: int = 0
    cached_blocks: int = 0
    block_map: str = ""
    totals: Totals = field(default_factory=Totals)
    requests: tuple[RequestStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The engines that are loaded, and what is on its way into memory: its directory and bytes.
    waiting: the requests that wait for the model of a directory. budget: bytes for all of them.
    cancels: from a reader's leaving to free blocks."""

    engines: tuple[EngineState, ...]
    loading: tuple[Path, int] | None
    waiting: Mapping[Path, tuple[RequestStatus, ...]]
    device: str
    budget: int
    cancels: Latencies
    process: ProcessStatus | None = None


Said = EngineEvent | Report | Examined | EngineError
NEWS = 0
"""The ticket of what nobody asked for: a Report, whenever a model was loaded or unloaded."""
Delivery = list[tuple[int, Said]]
"""What was said, each with its ticket, in order."""
