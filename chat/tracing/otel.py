"""Finished traces for OpenTelemetry: where `opentelemetry-sdk` and its exporter over HTTP are
installed and OTEL_EXPORTER_OTLP_ENDPOINT says where to. Nothing of it is imported otherwise.

The spans are those of `chat.tracing.recorder`, told again with the same trace id, on a thread of
their own. What else the standard variables say (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, headers)
the SDK reads itself.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from chat.tracing.forms import Nested, nested
from chat.tracing.recorder import Trace, finished

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

SERVICE = "tinyllm"
_log = structlog.get_logger(__name__)

_running: Teller | None = None


def start() -> None:
    """From now on traces are exported, if somebody is to have them."""
    if not settings.TINYLLM_OTLP_ENDPOINT:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        _log.warning("otel.not_installed", reason=str(error))
        return
    start_with(BatchSpanProcessor(OTLPSpanExporter()))
    _log.info("otel.started", endpoint=settings.TINYLLM_OTLP_ENDPOINT)


def start_with(processor: SpanProcessor) -> None:
    global _running
    _running = Teller(processor)
    finished.append(_running.take)


def stop() -> None:
    """Hand over what is left, for as long as the SDK waits."""
    global _running
    if _running is not None:
        finished.remove(_running.take)
        _running.close()
        _running = None


class Teller:
    """Gives `processor` each trace that it takes."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Ids(RandomIdGenerator):
            """The trace's own id, so that it is the same here and there."""

            trace_id = 0

            def generate_trace_id(self) -> int:
                return self.trace_id

        self._ids = Ids()
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="otel")

    def take(self, trace: Trace) -> None:
        self._thread.submit(self._tell, trace)

    def close(self) -> None:
        self._thread.shutdown()
        self._provider.shutdown()

    def _tell(self, trace: Trace) -> None:
        try:
            self._tell_all(trace)
        except Exception:
            _log.exception("otel.failed", request_id=trace.request_id)

    def _tell_all(self, trace: Trace) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        self._ids.trace_id = int(trace.trace_id, 16)
        about = {"tinyllm.request_id": trace.request_id, "tinyllm.status": trace.status}
        root = self._tracer.start_span(
            trace.what,
            context=_parent(trace),
            kind=SpanKind.SERVER,
            start_time=_nanoseconds(trace, trace.began),
            attributes=about,
        )
        if trace.status == "FAILED":
            root.set_status(StatusCode.ERROR)
        told: list[Span] = []
        rows = nested(trace.spans)
        for row in rows:
            told.append(self._begin(trace, row, told[row.parent] if row.parent >= 0 else root))
        for span, row in zip(told, rows, strict=True):
            if row.span.end > row.span.start:
                span.end(_nanoseconds(trace, row.span.end))
        root.end(_nanoseconds(trace, trace.end))

    def _begin(self, trace: Trace, row: Nested, around: Span) -> Span:
        """A moment is an event of what is around it."""
        from opentelemetry.trace import set_span_in_context

        name, at = row.span.name, _nanoseconds(trace, row.span.start)
        its = {f"tinyllm.{key}": value for key, value in row.span.attributes.items()}
        if row.span.end == row.span.start:
            around.add_event(name, its, at)
            return around
        its["tinyllm.track"] = row.span.track
        context = set_span_in_context(around)
        return self._tracer.start_span(name, context=context, start_time=at, attributes=its)


def _parent(trace: Trace) -> Context | None:
    """The caller's span, where it named one."""
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    if not trace.parent:
        return Context()
    ids: dict[str, Any] = {"trace_id": int(trace.trace_id, 16), "span_id": int(trace.parent, 16)}
    flags = TraceFlags(TraceFlags.SAMPLED if trace.is_sampled else TraceFlags.DEFAULT)
    caller = SpanContext(**ids, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _nanoseconds(trace: Trace, moment: float) -> int:
    return round(1e9 * (trace.at + moment - trace.began))
