"""A trace as others read it: nested for a page, and as a Chrome trace for chrome://tracing and
Perfetto."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from chat.tracing.recorder import Span, Trace


class Nested(NamedTuple):
    """parent: the index of the span around it, -1 for none. lane: of its track; spans that overlap
    and do not nest are in several."""

    span: Span
    depth: int
    parent: int
    lane: int


def nested(spans: Sequence[Span]) -> list[Nested]:
    """In order of their beginning, each behind what it is in, on its own track."""
    found: list[Nested] = []
    open_: dict[str, list[list[int]]] = {}  # of each track and lane: indexes that are open
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        lanes = open_.setdefault(span.track, [])
        lane = next((i for i, lane in enumerate(lanes) if _fits(found, lane, span)), len(lanes))
        if lane == len(lanes):
            lanes.append([])
        parent = lanes[lane][-1] if lanes[lane] else -1
        depth = found[parent].depth + 1 if parent >= 0 else 0
        lanes[lane].append(len(found))
        found.append(Nested(span, depth, parent, lane))
    return found


def _fits(found: Sequence[Nested], lane: list[int], span: Span) -> bool:
    """Leaves open in the lane what is around the span."""
    while lane and found[lane[-1]].span.end <= span.start:
        lane.pop()
    return not lane or found[lane[-1]].span.end >= span.end


def chrome(trace: Trace) -> dict[str, Any]:
    """The object that is a Chrome trace, times in microseconds from its beginning."""
    rows = nested(trace.spans)
    lanes = list(dict.fromkeys((row.span.track, row.lane) for row in rows))
    numbers = {lane: number for number, lane in enumerate(lanes, start=2)}
    named = [(1, "request"), *((number, track) for (track, _), number in numbers.items())]
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": name}}
        for tid, name in named
    ]
    root = Span(trace.what, trace.began, trace.end, "", {"status": trace.status})
    events.append(_event(trace, root, 1))
    events += [_event(trace, row.span, numbers[row.span.track, row.lane]) for row in rows]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "request_id": trace.request_id,
            "trace_id": trace.trace_id,
            "at": datetime.fromtimestamp(trace.at, UTC).isoformat(),
            "dropped_spans": trace.dropped,
        },
    }


def _event(trace: Trace, span: Span, tid: int) -> dict[str, Any]:
    at = round(1e6 * (span.start - trace.began), 3)
    its = {"name": span.name, "cat": span.track or "request", "pid": 1, "tid": tid, "ts": at}
    if span.end == span.start:
        return {**its, "ph": "i", "s": "t", "args": span.attributes}
    return {
        **its,
        "ph": "X",
        "dur": round(1e6 * (span.end - span.start), 3),
        "args": span.attributes,
    }
