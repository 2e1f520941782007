"""How long an answer that nobody wants any more holds its place in the engine, on each of the roads
by which it can be ended: from the moment when the site knows until the engine's blocks are free."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from inference.load_client import Load, Site, question
from inference.serving_metrics import summary
from inference.site_process import SiteFailed, SiteProcess, site_process

WAIT_S = 60.0
DEADLINE_S = 1
ADMINISTRATOR = {"name": "bench", "password": "bench"}


def cancel_figures(manage: Path, model: str, rounds: int) -> dict[str, Any]:
    """Milliseconds by road, ready for JSON. Raises SiteFailed."""
    # a short question: what is cancelled is an answer, not the reading of a prompt
    load = Load(model, input_len=8, output_len=1000)
    report: dict[str, Any] = {"rounds": rounds}
    with site_process(manage, TINYLLM_DISCONNECT_GRACE_S="0") as site:
        boss = _Administrator(site)
        roads: dict[str, Callable[[], Awaitable[None]]] = {
            "stop": lambda: _stop(site, load),
            "disconnect": lambda: asyncio.to_thread(_leave, site, load),
            "admin": lambda: _stopped_by(site, load, boss),
        }
        for name, go in roads.items():
            report[name] = _summary(_timed(site, go, rounds))
    with site_process(manage, TINYLLM_DEADLINE_S=str(DEADLINE_S)) as site:
        for _ in range(rounds):
            asyncio.run(_read(site, load))
        late = [line["cancel_latency_ms"] for line in site.logged("request.late")]
        report["deadline"] = _summary(late)
    return report


def _summary(milliseconds: list[float]) -> dict[str, float] | None:
    return summary(value / 1e3 for value in milliseconds)


def _timed(site: SiteProcess, go: Callable[[], Awaitable[None]], rounds: int) -> list[float]:
    """Milliseconds between two lines of the log, for each round."""
    found = []
    for _ in range(rounds):
        before = len(site.logged("request.freed"))
        asyncio.run(_awaited(go))
        end = time.monotonic() + WAIT_S
        while len(site.logged("request.freed")) == before:
            if time.monotonic() > end:
                raise SiteFailed("The engine did not free an answer that was cancelled.")
            time.sleep(0.01)
        cancelled = site.logged("turn.cancelled")[-1]
        freed = site.logged("request.freed")[-1]
        assert cancelled["request_id"] == freed["request_id"]
        found.append(1e3 * (_at(freed) - _at(cancelled)))
    return found


async def _awaited(go: Callable[[], Awaitable[None]]) -> None:
    await go()


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def _read(
    site: SiteProcess, load: Load, then: Callable[[Any, str], Awaitable[None]] | None = None
) -> None:
    """Ask, do something at the first piece of the answer, and read to the end."""
    at = Site.at(site.url)
    async with connect(at.socket_url, origin=at.origin, proxy=None) as line:  # type: ignore[arg-type]
        await line.recv()  # ready
        await line.send(question(load))
        async for data in line:
            frame = json.loads(data)
            if frame["type"] == "message.delta" and then is not None:
                await then(line, frame["session_id"])
                then = None
            if frame["type"] in ("message.end", "error"):
                return


async def _stop(site: SiteProcess, load: Load) -> None:
    async def stop(line: Any, session: str) -> None:
        await line.send(json.dumps({"v": 1, "type": "turn.stop", "session_id": session}))

    await _read(site, load, stop)


async def _stopped_by(site: SiteProcess, load: Load, boss: _Administrator) -> None:
    async def stop(line: Any, session: str) -> None:
        await asyncio.to_thread(boss.stop_all)

    await _read(site, load, stop)


def _leave(site: SiteProcess, load: Load) -> None:
    """A caller over REST who does not wait for the answer."""
    at = Site.at(site.url)
    line = HTTPConnection(at.host)
    sampling = {"max_tokens": load.output_len, "ignore_eos": True}
    body = json.dumps({"input": "Tell me about water.", "model": load.model, **sampling})
    headers = {"Content-Type": "application/json", "Origin": at.origin}
    line.request("POST", "/api/chat", body, headers)
    time.sleep(1)
    line.close()


class _Administrator:
    """Signed in to the admin pages of a site."""

    def __init__(self, site: SiteProcess) -> None:
        self._site, self._cookies = Site.at(site.url), dict[str, str]()
        site.make_administrator(**ADMINISTRATOR)
        self._request("GET", "/admin/login/")
        name, password = ADMINISTRATOR.values()
        self._post("/admin/login/", username=name, password=password, next="/admin/")

    def stop_all(self) -> None:
        page = self._request("GET", "/admin/chat/generation/?status__exact=RUNNING")
        ids = [part.split('"', 1)[0] for part in page.split('name="_selected_action" value="')[1:]]
        self._post("/admin/chat/generation/", action="stop", _selected_action=ids)

    def _post(self, path: str, **fields: Any) -> str:
        token = self._cookies.get("csrftoken", "")
        body = urlencode({**fields, "csrfmiddlewaretoken": token}, doseq=True)
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: str | None = None) -> str:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": cookies, "Origin": self._site.origin}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        line = HTTPConnection(self._site.host)
        line.request(method, path, body, headers)
        reply = line.getresponse()
        self._cookies |= dict(_set_by(reply.headers.get_all("Set-Cookie") or []))
        text = reply.read().decode()
        line.close()
        if reply.status >= 400:
            raise SiteFailed(f"{method} {path} was answered with {reply.status}.")
        return text


def _set_by(cookies: list[str]) -> Iterator[tuple[str, str]]:
    for cookie in cookies:
        name, _, value = cookie.split(";", 1)[0].partition("=")
        yield name, value
