"""Traces as OpenTelemetry has them: in memory, over the wire, and not at all."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chat.tracing import otel
from chat.tracing.recorder import finished, recent
from inference.errors import RequestFailed
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.server_process import ROOT
from tests.v1_client import HELLO, chat, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    otel.start_with(SimpleSpanProcessor(memory))
    yield memory
    otel.stop()
    assert finished == []


def spans(memory: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """By name, once all that was taken is told."""
    otel.stop()
    return {span.name: span for span in memory.get_finished_spans()}


async def test_the_same_spans_under_the_same_id(
    site: FakeEngine, exported: InMemorySpanExporter
) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "mine"}
    await post("chat/completions", {"model": "chat", "messages": HELLO}, **headers)
    (trace,) = (each for each in recent.newest() if each.request_id == "mine")
    told = spans(exported)
    root = told["POST /v1/chat/completions"]
    assert root.parent is not None
    assert (root.parent.span_id, root.kind) == (int("b" * 16, 16), SpanKind.SERVER)
    assert {span.context.trace_id for span in told.values() if span.context} == {int("a" * 32, 16)}
    lasting = {span.name for span in trace.spans if span.end > span.start}
    assert set(told) == {trace.what, *lasting}
    engine, queue = told["engine"], told["queue"]
    assert engine.parent is not None
    assert queue.parent is not None
    assert root.context is not None
    assert engine.context is not None
    assert engine.parent.span_id == root.context.span_id
    assert queue.parent.span_id == engine.context.span_id
    assert engine.attributes is not None
    assert engine.attributes["tinyllm.request_id"] == "mine"
    assert root.start_time is not None
    assert root.end_time is not None
    assert abs(root.start_time / 1e9 - trace.at) < 1e-3
    assert root.end_time - root.start_time == pytest.approx(
        1e9 * (trace.end - trace.began), abs=1e6
    )


async def test_what_the_caller_does_not_sample_is_not_exported(
    site: FakeEngine, exported: InMemorySpanExporter
) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    await post("chat/completions", {"model": "chat", "messages": HELLO}, **headers)
    assert spans(exported) == {}


async def test_a_failure_and_a_page(site: FakeEngine, exported: InMemorySpanExporter) -> None:
    site.script = lambda request: ["Some ", RequestFailed("Numbers.", request_id="r")]
    await chat()
    async with Page() as page:
        await page.submit("Hello")
        await page.until("message.end")
    while sum(trace.ended is not None for trace in recent.newest()[:2]) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    told = spans(exported)
    failed = {told[name].status.status_code for name in told if " " in name and "chat" in name}
    assert failed == {StatusCode.ERROR}
    page_root = told["websocket TurnSubmit"]
    assert page_root.parent is None
    assert [event.name for event in page_root.events] == ["first text out"]


class Collector(ThreadingHTTPServer):
    """Takes what exporters send, as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[tuple[str, ExportTraceServiceRequest]] = []


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


async def test_over_the_wire(
    site: FakeEngine, collector: Collector, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    settings.TINYLLM_OTLP_ENDPOINT = endpoint
    otel.start()
    await chat()
    otel.stop()
    assert {path for path, _ in collector.taken} == {"/v1/traces"}
    told = [
        (span.name, resource.resource.attributes)
        for _, request in collector.taken
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {"POST /v1/chat/completions", "engine", "queue"} <= {name for name, _ in told}
    services = {a.value.string_value for _, its in told for a in its if a.key == "service.name"}
    assert services == {"tinyllm"}


def test_nothing_of_it_is_loaded_where_nobody_asks() -> None:
    code = """
import sys
from tinyllm_site import env
env.use_settings()
import django
django.setup()
import tinyllm_site.asgi
import chat.management.commands.serve
from chat.tracing import otel
otel.start()
otel.stop()
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
