"""/admin/traces/: what requests spent their time on. Numbers and names, never a text."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from chat.models import Generation
from chat.operations.rights import VIEW, admin_page, page
from chat.tracing.forms import Nested, chrome, nested
from chat.tracing.recorder import Trace, recent
from chat.tracing.rows import trace_of_row

WIDTH = 1000
"""Of the drawing, in its own units."""
LEAST = 2
NAMES = {
    "frame in": gettext_lazy("frame in"),
    "checks": gettext_lazy("checks"),
    "prompt": gettext_lazy("prompt made"),
    "prompt spliced": gettext_lazy("prompt spliced"),
    "engine": gettext_lazy("engine"),
    "queue": gettext_lazy("queue"),
    "prefill": gettext_lazy("prefill"),
    "prefill chunk": gettext_lazy("prefill chunk"),
    "decode": gettext_lazy("decode"),
    "decode step": gettext_lazy("decode step"),
    "first text out": gettext_lazy("first text out"),
    "first frame out": gettext_lazy("first frame out"),
}


@page(VIEW)
@require_GET
def traces_page(request: HttpRequest) -> HttpResponse:
    rows = [_listed(trace) for trace in recent.newest()]
    return admin_page(request, "admin/chat/traces.html", _("Traces"), {"traces": rows})


@page(VIEW)
@require_GET
def trace_page(request: HttpRequest, trace_id: str) -> HttpResponse:
    return _drawn(request, _kept(trace_id), reverse("operations:trace_file", args=[trace_id]))


@page(VIEW)
@require_GET
def trace_file(request: HttpRequest, trace_id: str) -> HttpResponse:
    return _file(_kept(trace_id))


@page(VIEW)
@require_GET
def generation_trace(request: HttpRequest, generation_id: uuid.UUID) -> HttpResponse:
    """An answer's trace, or as much as its row knows."""
    file = reverse("operations:generation_trace_file", args=[generation_id])
    return _drawn(request, _of_generation(generation_id), file)


@page(VIEW)
@require_GET
def generation_trace_file(request: HttpRequest, generation_id: uuid.UUID) -> HttpResponse:
    return _file(_of_generation(generation_id))


@admin.display(description=gettext_lazy("trace"))
def trace_link(_admin: Any, generation: Generation) -> SafeString:
    """A field of the generation's own page."""
    address = reverse("operations:generation_trace", args=[generation.pk])
    return format_html('<a href="{}">{}</a>', address, generation.request_id)


def _kept(trace_id: str) -> Trace:
    trace = recent.get(trace_id)
    if trace is None:
        raise Http404
    return trace


def _of_generation(generation_id: uuid.UUID) -> Trace:
    packed = ("prompt_ids", "output_ids", "token_offsets", "prefix_offsets")
    row = get_object_or_404(Generation.objects.defer(*packed), id=generation_id)
    return recent.of_request(row.request_id) or trace_of_row(row)


def _file(trace: Trace) -> HttpResponse:
    name = f"trace-{trace.request_id}.json"
    answer = JsonResponse(chrome(trace))
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _drawn(request: HttpRequest, trace: Trace, file: str) -> HttpResponse:
    length = max(trace.end - trace.began, 1e-9)
    context = {
        "trace": _listed(trace),
        "rows": [_row(trace, each, length) for each in nested(trace.spans)],
        "file": file,
        "width": WIDTH,
        "is_whole": trace.what != "generation",
        "dropped": trace.dropped,
    }
    return admin_page(request, "admin/chat/trace.html", _("Trace"), context)


def _listed(trace: Trace) -> dict[str, Any]:
    engines = [span for span in trace.spans if span.name == "engine"]
    return {
        "id": trace.trace_id,
        "request_id": trace.request_id,
        "what": trace.what,
        "at": datetime.fromtimestamp(trace.at, UTC),
        "ms": _ms(trace.end - trace.began),
        "status": trace.status,
        "models": ", ".join(dict.fromkeys(str(span.attributes["model"]) for span in engines)),
        "tokens": sum(span.attributes.get("output_tokens", 0) for span in engines),
        "spans": len(trace.spans),
    }


def _row(trace: Trace, each: Nested, length: float) -> dict[str, Any]:
    span = each.span
    scale = WIDTH / length
    x = min(WIDTH - LEAST, scale * (span.start - trace.began))
    return {
        "name": NAMES.get(span.name, span.name),
        "track": span.track.partition(" ")[0],
        "depth": min(each.depth, 3),
        "x": f"{x:.2f}",
        "width": f"{max(LEAST, scale * (span.end - span.start)):.2f}",
        "is_mark": span.end == span.start,
        "start": _ms(span.start - trace.began),
        "ms": _ms(span.end - span.start),
        "attributes": ", ".join(f"{name} {value}" for name, value in span.attributes.items()),
    }


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f}"
