"""Traces of requests: what is recorded on which way in, how it nests, and who may look at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import AsyncClient, Client

from chat.database import in_database
from chat.models import Generation, User
from chat.tracing import recorder
from chat.tracing.engine_spans import EngineSpans
from chat.tracing.forms import chrome, nested
from chat.tracing.recorder import MOST_SPANS, Recent, Trace, recent
from inference.errors import RequestFailed
from inference.types import (
    Began,
    EngineEvent,
    EngineSetup,
    Finished,
    GenerateRequest,
    PromptProgress,
    Queued,
    Timings,
)
from tests.chat_client import Page
from tests.fake_engine import FakeEngine, text_delta
from tests.v1_client import HELLO, chat, frames, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    recent.clear()
    yield
    recent.clear()


def by_name(trace: Trace) -> dict[str, Any]:
    return {span.name: span for span in trace.spans}


async def only_trace() -> Trace:
    while not (kept := recent.newest()) or kept[0].ended is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert len(kept) == 1
    return kept[0]


async def test_a_turn_over_the_websocket(site: FakeEngine) -> None:
    site.script = lambda request: [Queued(2), PromptProgress(8, 20), "Secret ", "words"]
    async with Page() as page:
        await page.submit("A secret question")
        await page.until("message.end")
    trace = await only_trace()
    assert (trace.what, trace.status) == ("websocket TurnSubmit", "DONE")
    assert trace.request_id == site.requests[0].request_id
    spans = by_name(trace)
    parts = {"frame in", "checks", "prompt", "begin_turn", "engine", "queue", "prefill", "decode"}
    assert {*parts, "first text out", "turn_finish"} <= set(spans)
    assert spans["begin_turn"].track == "database"
    order = ["frame in", "checks", "begin_turn", "engine", "turn_finish"]
    assert [s.name for s in sorted(trace.spans, key=lambda s: s.start) if s.name in order] == order
    assert spans["engine"].attributes["output_tokens"] == len("Secret words") + 1
    assert "ecret" not in json.dumps(chrome(trace))


async def test_a_call_of_the_api_with_several_answers(site: FakeEngine) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {"x-request-id": "mine", "traceparent": parent}
    answer = await post(
        "chat/completions", {"model": "chat", "messages": HELLO, "n": 2, "stream": True}, **headers
    )
    await frames(answer)
    trace = await only_trace()
    assert (trace.trace_id, trace.parent, trace.request_id) == ("a" * 32, "b" * 16, "mine")
    assert trace.what == "POST /v1/chat/completions"
    engines = {span.track for span in trace.spans if span.name == "engine"}
    assert engines == {"engine mine", "engine mine-1"}
    assert {"checks", "prompt", "reserve", "settle", "first frame out"} <= set(by_name(trace))
    assert recent.of_request("mine") is trace


@pytest.mark.parametrize("parent", ["", "00-xyz", f"00-{'A' * 32}-{'b' * 16}-01", "x" * 5000])
async def test_a_wrong_traceparent_is_nobodys(site: FakeEngine, parent: str) -> None:
    await post("chat/completions", {"model": "chat", "messages": HELLO}, traceparent=parent)
    trace = await only_trace()
    assert (len(trace.trace_id), trace.parent) == (32, "")


async def test_how_it_ended_is_told(site: FakeEngine) -> None:
    site.script = lambda request: ["Some ", RequestFailed("Numbers.", request_id="r")]
    await chat()
    trace = await only_trace()
    assert trace.status == "FAILED"
    assert by_name(trace)["engine"].attributes["reason"] == "error"
    assert "decode" not in by_name(trace) or by_name(trace)["decode"].end <= trace.end


async def test_what_asks_no_engine_leaves_nothing(site: FakeEngine) -> None:
    for path in ("/", "/api/sessions", "/v1/models", "/healthz"):
        await AsyncClient().get(path)
    await post("tokenize", {"model": "chat", "prompt": "Hello"})
    assert recent.newest() == []


async def test_without_a_trace_nothing_is_recorded(site: FakeEngine) -> None:
    assert recorder.span("checks") is recorder.span("prompt")
    recorder.mark("first text out")
    recorder.finish("DONE")
    assert recorder.keep() is None


def test_pieces_of_a_prompt_and_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each second one event; the engine says that it waited for one and read for four."""
    clock = iter(range(100))
    monkeypatch.setattr("chat.tracing.engine_spans.time.monotonic", lambda: float(next(clock)))
    trace = Trace("r", "POST /")
    spans = EngineSpans(trace, GenerateRequest("r", "chat", (1, 2, 3)))
    started = EngineSetup("cpu", "ours", "float32", "fp32")
    events: tuple[EngineEvent, ...] = (
        Queued(1), PromptProgress(10, 30), PromptProgress(20, 30), Began(started, False),
        *[text_delta(letter, at) for at, letter in enumerate("abcdefg")],
        Finished("stop", 30, 7, 0, 1, Timings(0.5, 2.5, 5.5)),
    )  # fmt: skip
    for event in events:
        spans.take(event)
    told = [(span.name, span.start, span.end) for span in trace.spans]
    assert told == [
        ("engine", 0.0, 8.0), ("queue", 0.0, 0.5), ("prefill", 0.5, 3.0),
        ("prefill chunk", 0.5, 1.0), ("prefill chunk", 1.0, 2.0), ("prefill chunk", 2.0, 3.0),
        ("decode", 3.0, 8.0), ("decode step", 3.0, 5.0), ("decode step", 5.0, 6.0),
        ("decode step", 6.0, 7.0),
    ]  # fmt: skip
    assert [row.depth for row in nested(trace.spans)] == [0, 1, 1, 2, 2, 2, 1, 2, 2, 2]
    spans.end("stop")
    assert len(trace.spans) == len(told)


def spans_of(*each: tuple[str, float, float, str]) -> Trace:
    trace = Trace("r", "GET /")
    trace.began = 0.0
    for name, start, end, track in each:
        trace.add(name, start, end, track)
    return trace


def test_spans_nest_and_what_overlaps_is_drawn_apart() -> None:
    trace = spans_of(
        ("inner", 1.0, 2.0, "a"), ("outer", 0.0, 3.0, "a"), ("deep", 1.5, 2.0, "a"),
        ("across", 2.5, 4.0, "a"), ("other", 1.0, 2.0, "b"), ("mark", 1.5, 1.5, "b"),
    )  # fmt: skip
    told = {row.span.name: (row.depth, row.lane) for row in nested(trace.spans)}
    assert told == {
        "outer": (0, 0), "inner": (1, 0), "deep": (2, 0), "across": (0, 1), "other": (0, 0),
        "mark": (1, 0),
    }  # fmt: skip
    events = chrome(trace)["traceEvents"]
    lanes = {event["name"]: event["tid"] for event in events if event["ph"] in "Xi"}
    assert lanes["outer"] == lanes["inner"] != lanes["across"]
    across = next(event for event in events if event["name"] == "across")
    assert (across["ts"], across["dur"], across["ph"]) == (2_500_000, 1_500_000, "X")
    assert next(event for event in events if event["name"] == "mark")["ph"] == "i"
    root = next(event for event in events if event["name"] == "GET /")
    assert (root["ts"], root["dur"]) == (0, 4_000_000)


def test_memory_is_bounded() -> None:
    ring, traces = Recent(2), [Trace(str(i), "x") for i in range(3)]
    for each in traces:
        ring.keep(each)
    assert ring.newest() == [traces[2], traces[1]]
    for _ in range(MOST_SPANS + 7):
        traces[0].add("s", 0.0, 1.0)
    assert (len(traces[0].spans), traces[0].dropped) == (MOST_SPANS, 7)


def looker(*rights: str) -> Client:
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


async def test_the_pages(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("A secret question")
        await page.until("message.end")
    trace = await only_trace()
    row = await in_database(Generation.objects.get)

    def look() -> None:
        client = looker("view_engine", "view_generation")
        shown = client.get("/admin/traces/").content.decode()
        assert f"/admin/traces/{trace.trace_id}/" in shown
        own = client.get(f"/admin/traces/{trace.trace_id}/").content.decode()
        assert own.count("<rect") == len(trace.spans)
        assert "ecret" not in shown + own
        assert " style=" not in own.partition("<main")[2]
        link = f"/admin/generation-trace/{row.id}/"
        detail = client.get(f"/admin/chat/generation/{row.id}/change/").content.decode()
        assert link in detail
        assert client.get(link).content.decode().count("<rect") == len(trace.spans)
        file = client.get(f"{link}chrome.json")
        assert f'filename="trace-{trace.request_id}.json"' in file["Content-Disposition"]
        assert file.json() == json.loads(json.dumps(chrome(trace)))
        assert client.get(f"/admin/traces/{trace.trace_id}/chrome.json").json() == file.json()
        recent.clear()
        assert client.get(f"/admin/traces/{trace.trace_id}/").status_code == 404
        rest = client.get(link).content.decode()
        assert rest.count("<rect") == 3
        assert "no longer in memory" in rest
        client.cookies["django_language"] = "zh-hans"
        assert "各部分用时" in client.get(link).content.decode()

    await in_database(look)


async def test_who_may_not_look_is_refused(site: FakeEngine) -> None:
    await chat()
    trace = await only_trace()

    def look() -> None:
        client = looker("view_generation")
        for path in ("/admin/traces/", f"/admin/traces/{trace.trace_id}/chrome.json"):
            assert client.get(path).status_code == 403
            assert Client(headers={"host": "localhost"}).get(path).status_code == 302

    await in_database(look)


async def test_a_temporary_turn_has_one_too(site: FakeEngine) -> None:
    site.script = lambda request: [text_delta("Hi", 0)]
    async with Page() as page:
        await page.submit("Hello", temporary=True)
        await page.until("message.end")
    trace = await only_trace()
    assert "engine" in by_name(trace)
    assert trace.status
