"""What a generation's row alone says of its time, for an answer whose trace is no longer here."""

from __future__ import annotations

from chat.models import Generation
from chat.tracing.recorder import Trace


def trace_of_row(row: Generation) -> Trace:
    """Waiting, prefill and decode as the row's timings say, one after the other."""
    trace = Trace(row.request_id, "generation", trace_id=row.id.hex, at=row.created_at.timestamp())
    trace.began, at = 0.0, 0.0
    tokens = {"prefill": row.prompt_tokens - row.cached_tokens, "decode": row.output_tokens}
    for name in ("queue", "prefill", "decode"):
        length = float(row.timings.get(f"{name}_s", 0.0))
        its = {"tokens": tokens[name]} if name in tokens else {}
        trace.add(name, at, at + length, f"engine {row.request_id}", **its)
        at += length
    if row.finished_at is not None:
        trace.ended = max(at, (row.finished_at - row.created_at).total_seconds())
    trace.status = row.status
    return trace
