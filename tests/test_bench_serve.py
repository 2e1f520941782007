"""`manage.py bench serve` against a real server, with a tiny model and with the scripted engine."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference import load_client
from inference.errors import InvalidParameter
from inference.load_client import Load, LoadError, Seen, Site, serve_figures
from tests.server_process import ServerProcess

OUTPUT = 12


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    its = ServerProcess(tmp_path_factory.mktemp("scripted")).migrate().start()
    yield its
    assert its.end() == 0


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("real")
    models = {"TINYLLM_MODELS_DIR": str(folder / "models")}
    factory = "tests.process_engine.build"
    its = ServerProcess(folder, TINYLLM_ENGINE_FACTORY=factory, **models).migrate().start()
    yield its
    assert its.end() == 0


@pytest.mark.real_engine
def test_a_sweep_of_rates_prints_and_writes(real: ServerProcess, tmp_path: Path) -> None:
    out = StringIO()
    call_command(
        "bench",
        "serve",
        url=real.url,
        model="tiny",
        rates=[50.0, float("inf")],
        requests=4,
        input_len=5,
        output_len=OUTPUT,
        concurrency=2,
        output=tmp_path,
        stdout=out,
    )
    assert "tiny, 50.0 requests/s, at most 2 in flight: 4 done, none failed" in out.getvalue()
    assert "tiny, inf requests/s" in out.getvalue()
    runs = json.loads((tmp_path / "serve.json").read_text())["runs"]
    assert [run["rate"] for run in runs] == [50.0, "inf"]
    for run in runs:
        assert (run["completed"], run["output_tokens"]) == (4, 4 * OUTPUT)
        assert run["prompt_tokens"] > 4 * 5
        assert 1 <= run["tokens_per_frame"] <= OUTPUT
        assert 0 < run["ttft_ms"]["p50"] <= run["e2el_ms"]["p50"]
        assert run["tpot_ms"]["p50"] >= 0
    # the sessions are gone again
    assert real.rows("select count(*) from chat_session") == [(0,)]


@pytest.mark.fake_engine
def test_no_more_than_asked_are_in_flight(scripted: ServerProcess) -> None:
    alone = asyncio.run(
        serve_figures(Site.at(scripted.url), Load("chat", 3, 2, OUTPUT, concurrency=1))
    )
    assert alone["completed"] == 3
    # one after the other: together they take no less than their sum
    assert alone["duration_s"] >= 3 * alone["e2el_ms"]["mean"] / 1e3


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """A reader is enough for a process, and there is room for three; who has read."""
    found: set[int] = set()

    class Pool(ProcessPoolExecutor):
        def shutdown(self, *its: Any, **more: Any) -> None:
            found.update(self._processes or {})
            super().shutdown(*its, **more)

    monkeypatch.setattr(load_client, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(load_client, "PER_PROCESS", 2)
    monkeypatch.setattr(load_client, "all_cores", lambda: 6)
    return found


@pytest.mark.fake_engine
def test_many_readers_are_several_processes(scripted: ServerProcess, processes: set[int]) -> None:
    """All that they saw is counted, and compared with what the site has stored."""
    edges = list[int]()
    load, site = Load("chat", 7, 2, OUTPUT), Site.at(scripted.url)
    report = asyncio.run(serve_figures(site, load, lambda: edges.append(1)))
    assert (report["completed"], report["failed"], len(edges)) == (7, {}, 2)
    assert report["output_tokens"] >= 7 * OUTPUT
    # one more, which woke the site
    assert report["transcripts"] == {"checked": 8, "complete": 8, "faults": []}
    assert len(processes) == 3
    assert scripted.rows("select count(*) from chat_session") == [(0,)]


@pytest.mark.fake_engine
def test_what_fails_in_several_processes_is_counted_by_its_code(
    scripted: ServerProcess, processes: set[int]
) -> None:
    load, site, all_of_them = Load("gpt", 5), Site.at(scripted.url), Seen()

    async def together() -> list[Seen]:
        with load_client._crowd(load) as read:
            return await read(site, load, [time.perf_counter()] * 5)

    parts = asyncio.run(together())
    for part in parts:
        all_of_them.add(part)
    assert sorted(sum(part.failed.values()) for part in parts) == [1, 2, 2]
    assert all_of_them.failed == {"model_not_found": 5}
    assert not all_of_them.times
    assert not all_of_them.transcripts


@pytest.mark.parametrize(
    ("requests", "concurrency", "count"), [(2, None, 0), (3, None, 2), (99, None, 3), (99, 50, 0)]
)
def test_how_many_processes_read(
    processes: set[int],
    requests: int,
    concurrency: int | None,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One where that is enough, and where no more than so many may be in flight."""
    monkeypatch.setattr(load_client, "_wake", int)
    with load_client._crowd(Load("chat", requests, concurrency=concurrency)):
        pass
    assert len(processes) == count


@pytest.mark.fake_engine
def test_what_the_site_refuses_is_said_and_leaves_nothing(scripted: ServerProcess) -> None:
    site = Site.at(scripted.url)
    with pytest.raises(LoadError, match="There is no model called 'gpt'") as refused:
        asyncio.run(serve_figures(site, Load("gpt", 1)))
    assert refused.value.code == "model_not_found"
    with pytest.raises(CommandError, match=f"{scripted.url}: .*'gpt'"):
        call_command("bench", "serve", url=scripted.url, model="gpt", requests=1)
    assert scripted.rows("select count(*) from chat_session") == [(0,)]


def test_a_site_that_is_not_there_is_said() -> None:
    with pytest.raises(CommandError, match=r"ws://localhost:1/ws/chat/"):
        call_command("bench", "serve", url="http://localhost:1", requests=1)


def test_without_the_development_dependencies_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "inference.load_client")
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(CommandError, match=r"needs requirements-dev\.txt: websockets"):
        call_command("bench", "serve")


def test_addresses_of_a_site() -> None:
    for url in ("http://localhost:3000", "http://localhost:3000/", "ws://localhost:3000"):
        site = Site.at(url)
        assert site.socket_url == "ws://localhost:3000/ws/chat/"
        assert site.origin == "http://localhost:3000"
    assert Site.at("https://chat.example").socket_url == "wss://chat.example/ws/chat/"
    for wrong in ("localhost:3000", "ftp://localhost", "http://"):
        with pytest.raises(InvalidParameter, match=f"url = '{wrong}'"):
            Site.at(wrong)


def test_a_load_that_is_none_is_refused() -> None:
    for name in ("requests", "input_len", "output_len", "concurrency"):
        with pytest.raises(InvalidParameter, match=f"{name} = 0"):
            Load("chat", **{name: 0})
    with pytest.raises(InvalidParameter, match=r"rate = 0\.0"):
        Load("chat", rate=0.0)
