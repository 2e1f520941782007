"""Readers of a running site, as many as asked for, each on a websocket and in a session of its own.

Needs `websockets`, a development dependency.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from inference.errors import InvalidParameter
from inference.options import all_cores
from inference.serving_metrics import RequestTimes, figures, start_times
from inference.transcripts import Transcript, verdict

SOCKET_PATH = "/ws/chat/"
OPEN_TIMEOUT_S = 60.0
PER_PROCESS = 64
"""Readers that one process can keep up with, at thirty frames a second."""
# Common enough to be a token each in most vocabularies.
WORDS = (
    "air animal answer apple book box bread car cat city cloud color country day dog door earth "
    "egg eye face family farm field fire fish flower food foot friend garden glass gold grass "
    "green hand head heart hill home horse house island king lake land letter light line man milk "
    "moon morning mother mountain music name night paper picture plant queen rain river road rock "
    "room school sea ship sky snow song star stone story street summer sun table time town tree "
    "voice wall water wind window winter woman wood word world year"
)


class LoadError(Exception):
    """A request did not end well. code: the site's own, or ours where the site said nothing."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Load:
    """requests: questions of `input_len` random words, answered with `output_len` tokens each.
    rate: requests per second, inf for all at once. concurrency: the most in flight, None for no
    bound; whoever waits for it has not been sent yet. seed: of the times. Raises
    InvalidParameter."""

    model: str
    requests: int = 100
    input_len: int = 128
    output_len: int = 128
    rate: float = math.inf
    concurrency: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("requests", "input_len", "output_len", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidParameter(name, value, "at least 1")
        if not self.rate > 0:
            raise InvalidParameter("rate", self.rate, "above 0, or inf")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate if math.isfinite(self.rate) else "inf"}


@dataclass(frozen=True, slots=True)
class Site:
    """A running site. secure: whether it speaks TLS. host: with its port."""

    secure: bool
    host: str

    @classmethod
    def at(cls, url: str) -> Site:
        """Of an address with http, https, ws or wss. Raises InvalidParameter."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
            raise InvalidParameter("url", url, "like http://localhost:3000 or ws://localhost:3000")
        return cls(parts.scheme in ("https", "wss"), parts.netloc)

    @property
    def socket_url(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.host}{SOCKET_PATH}"

    @property
    def origin(self) -> str:
        """Of the site's own pages: to others it does not speak."""
        return f"{'https' if self.secure else 'http'}://{self.host}"

    def check(self, transcripts: list[Transcript]) -> None:
        """Compare what was read with what the site has stored."""
        with closing(self._connection()) as line:
            for transcript in transcripts:
                line.request("GET", f"/api/sessions/{transcript.session_id}")
                reply = line.getresponse()
                body = reply.read()
                messages = json.loads(body)["messages"] if reply.status == 200 else []
                transcript.compare(messages[-1]["content"] if messages else None)

    def forget(self, sessions: list[str]) -> None:
        """Delete sessions. One that stays behind is a nuisance, and spoils no figure."""
        with closing(self._connection()) as line, suppress(OSError, HTTPException):
            for session in sessions:
                line.request("DELETE", f"/api/sessions/{session}", headers={"Origin": self.origin})
                line.getresponse().read()

    def _connection(self) -> HTTPConnection:
        return (HTTPSConnection if self.secure else HTTPConnection)(self.host)


@dataclass(slots=True)
class Seen:
    """By some readers: the answers that ended well, why others did not, and what was read."""

    times: list[RequestTimes] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    transcripts: list[Transcript] = field(default_factory=list)

    def add(self, others: Seen) -> None:
        self.times += others.times
        self.failed += others.failed
        self.transcripts += others.transcripts


async def serve_figures(
    site: Site, load: Load, edge: Callable[[], None] = lambda: None, *, forget: bool = True
) -> dict[str, Any]:
    """One run: its figures, ready for JSON, and whether every reader got all of its answer. A
    short request goes first, uncounted. edge: called at the beginning and at the end of what
    counts. forget: whether the sessions are deleted. Raises LoadError where not even that one is
    answered."""
    seen = Seen()
    try:
        await _ask(site, replace(load, output_len=min(load.output_len, 8)), seen.transcripts)
        with _crowd(load) as read:
            edge()
            began = time.perf_counter()
            starts = [began + at for at in start_times(load.requests, load.rate, load.seed)]
            for others in await read(site, load, starts):
                seen.add(others)
            duration = time.perf_counter() - began
            edge()
        await asyncio.to_thread(site.check, seen.transcripts)
    finally:
        if forget:
            await asyncio.to_thread(site.forget, [each.session_id for each in seen.transcripts])
    told = {"transcripts": verdict(seen.transcripts)}
    return {**load.as_json(), **figures(seen.times, duration, seen.failed), **told}


Crowd = Callable[[Site, Load, list[float]], Awaitable[list[Seen]]]


@contextmanager
def _crowd(load: Load) -> Iterator[Crowd]:
    """Who reads: this process, or several where it would be busier than the site. What starts at
    the same time is dealt out to all of them."""
    count = min(-(-load.requests // PER_PROCESS), max(1, all_cores() // 2))
    if count < 2 or load.concurrency is not None:
        yield _alone
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context) as pool:

        async def together(site: Site, load: Load, starts: list[float]) -> list[Seen]:
            loop = asyncio.get_running_loop()
            parts = [starts[index::count] for index in range(count)]
            asked = [loop.run_in_executor(pool, _read_apart, site, load, part) for part in parts]
            return list(await asyncio.gather(*asked))

        list(pool.map(_wake, range(count)))
        yield together


def _wake(_: int) -> None:
    """A process that has just started takes its time to import what it needs."""
    time.sleep(0.5)


def _read_apart(site: Site, load: Load, starts: list[float]) -> Seen:
    """In a process of its own; the clock is one for all."""
    return asyncio.run(_read(site, load, starts))


async def _alone(site: Site, load: Load, starts: list[float]) -> list[Seen]:
    return [await _read(site, load, starts)]


async def _read(site: Site, load: Load, starts: list[float]) -> Seen:
    """A question at each time of `starts`, by `time.perf_counter`, and all of its answer."""
    seen = Seen()
    gate = asyncio.Semaphore(load.concurrency or len(starts))

    async def one(at: float) -> None:
        await asyncio.sleep(at - time.perf_counter())
        async with gate:
            try:
                seen.times.append(await _ask(site, load, seen.transcripts))
            except LoadError as error:
                seen.failed[error.code] += 1

    await asyncio.gather(*map(one, starts))
    return seen


async def _ask(site: Site, load: Load, seen: list[Transcript]) -> RequestTimes:
    """One question, in a new session; what is read goes to `seen`. Its time begins on an open
    socket, as on a page. Raises LoadError."""
    try:
        async with connect(
            site.socket_url,
            origin=site.origin,  # type: ignore[arg-type]
            open_timeout=OPEN_TIMEOUT_S,
            compression=None,
            proxy=None,
            max_size=None,
        ) as line:
            await line.recv()  # ready
            sent, transcript = time.perf_counter(), Transcript()
            arrivals: list[tuple[float, int]] = []
            await line.send(question(load))
            async for data in line:
                now, frame = time.perf_counter(), json.loads(data)
                transcript.apply(frame)
                if frame["type"] == "turn.started":
                    seen.append(transcript)
                elif frame["type"] == "message.delta":
                    arrivals.append((now, len(frame["text"])))
                elif frame["type"] in ("message.end", "error"):
                    return _times(sent, arrivals, frame)
    except (OSError, WebSocketException) as error:
        raise LoadError("connection_failed", f"{site.socket_url}: {error}") from error
    raise LoadError("connection_closed", f"{site.socket_url} closed the connection.")


def question(load: Load) -> str:
    """Other words each time: an earlier run's would be found in the site's cache."""
    frame = {
        "v": 1,
        "type": "turn.submit",
        "client_id": uuid.uuid4().hex,
        "session_id": None,
        "text": " ".join(random.choices(WORDS.split(), k=load.input_len)),
        "model": load.model,
        "sampling": {"max_tokens": load.output_len, "ignore_eos": True},
    }
    return json.dumps(frame)


def _times(sent: float, arrivals: list[tuple[float, int]], last: dict[str, Any]) -> RequestTimes:
    """arrivals: of frames, and how long their texts are. last: the frame message.end or error.
    Raises LoadError."""
    error = last if last["type"] == "error" else last["error"]
    if error:
        raise LoadError(error["code"], error["message"])
    if last["status"] != "DONE" or not arrivals:
        raise LoadError("no_answer", f"An answer ended as {last['status']}, without its text.")
    usage, timings = last["usage"], last["timings"]
    tokens = usage["prompt_tokens"], usage["output_tokens"]
    engine_s = timings["queue_s"] + timings["prefill_s"]
    times, sizes = zip(*arrivals, strict=True)
    return RequestTimes(sent, times, *tokens, engine_s, sizes)
