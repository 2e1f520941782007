"""Records spans: a name, when, how long, and numbers beside it; never a text.

A trace begins where a request comes in and is found through a context variable, so whatever works
for that request adds to it, on other threads and in tasks too. Most requests ask no engine: their
traces are dropped with them. Those that do are kept in memory, the newest `KEPT` (ADR 28).
"""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

KEPT = 256
MOST_SPANS = 200
"""Of one trace. A stream that is read for hours asks the database now and then."""

SITE, DATABASE = "site", "database"
"""Tracks: what overlaps is drawn apart. The engine's are named after its requests."""

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class Span(NamedTuple):
    """Times are of the monotonic clock, in seconds. A mark has no length."""

    name: str
    start: float
    end: float
    track: str
    attributes: dict[str, Any]


@dataclass(slots=True, eq=False)
class Trace:
    """what: came in. at: when, in seconds since 1970; began: the same on the monotonic clock.
    parent: the caller's span, as its traceparent names it; is_sampled: whether that wants it told
    elsewhere. ended: when all was done; None: it
    goes on. status: how it ended."""

    request_id: str
    what: str
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    parent: str = ""
    is_sampled: bool = True
    at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    status: str = ""
    spans: list[Span] = field(default_factory=list)
    dropped: int = 0

    def add(
        self, name: str, start: float, end: float, track: str = SITE, **attributes: Any
    ) -> None:
        if self.ended is not None:
            return  # a reader's, who follows the session
        if len(self.spans) < MOST_SPANS:
            self.spans.append(Span(name, start, end, track, attributes))
        else:
            self.dropped += 1

    @property
    def end(self) -> float:
        """Of all that was recorded so far."""
        return max([self.began, self.ended or 0.0, *(span.end for span in self.spans)])


class Recent:
    """The newest traces of requests that an engine was asked for, by trace id."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def keep(self, trace: Trace) -> None:
        self._traces[trace.trace_id] = trace
        while len(self._traces) > self._kept:
            self._traces.popitem(last=False)

    def newest(self) -> list[Trace]:
        return [*self._traces.values()][::-1]

    def get(self, trace_id: str) -> Trace | None:
        return self._traces.get(trace_id)

    def of_request(self, request_id: str) -> Trace | None:
        """The newest one, should a caller have used its id again."""
        return next((each for each in self.newest() if each.request_id == request_id), None)

    def clear(self) -> None:
        self._traces.clear()


recent = Recent()
finished: list[Callable[[Trace], None]] = []
"""Told of each trace that has ended, on the event loop; they may not wait."""

_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


def arrived(request_id: str, what: str, traceparent: str = "") -> Trace:
    """A request has come in: from now on this context records for it."""
    trace = Trace(request_id, what)
    if found := _TRACEPARENT.fullmatch(traceparent):
        trace.trace_id, trace.parent = found[1], found[2]
        trace.is_sampled = bool(int(found[3], 16) & 1)
    _current.set(trace)
    return trace


def current() -> Trace | None:
    return _current.get()


def keep() -> Trace | None:
    """This context's trace, which is to be kept."""
    trace = _current.get()
    if trace is not None:
        recent.keep(trace)
    return trace


def span(name: str, track: str = SITE, **attributes: Any) -> AbstractContextManager[None]:
    """Time what is done in it, where a trace is recorded."""
    trace = _current.get()
    return _NOTHING if trace is None else _Timed(trace, name, track, attributes)


def mark(name: str, track: str = SITE) -> None:
    """A moment."""
    trace = _current.get()
    if trace is not None:
        now = time.monotonic()
        trace.add(name, now, now, track)


def finish(status: str) -> None:
    """All that was asked for is done, and written."""
    trace = _current.get()
    if trace is not None and trace.ended is None:
        trace.ended, trace.status = time.monotonic(), status
        for tell in finished:
            tell(trace)


class _Timed:
    __slots__ = ("_attributes", "_name", "_start", "_trace", "_track")

    def __init__(self, trace: Trace, name: str, track: str, attributes: dict[str, Any]) -> None:
        self._trace, self._name, self._track = trace, name, track
        self._attributes = attributes

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        failed = {} if kind is None else {"error": kind.__name__}
        its = {**self._attributes, **failed}
        self._trace.add(self._name, self._start, time.monotonic(), self._track, **its)
