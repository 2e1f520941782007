"""The engine in a process of its own: it says what the thread says, and ends when it must."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inference.client import EngineClient
from inference.engine_process import EngineProcess
from inference.engine_thread import EngineThread
from inference.errors import (
    ContextLengthExceeded,
    EngineStopped,
    InvalidParameter,
    ModelNotFound,
)
from inference.types import (
    Began,
    Delta,
    EngineEvent,
    Finished,
    GenerateRequest,
    Loading,
    PromptProgress,
    SamplingParams,
    Timings,
)
from tests.child_orders import obey
from tests.process_engine import OPTIONS, exists, pid_of, running, tiny_store
from tests.server_process import ROOT
from tests.threaded_engine import HANG, read, request, rest, text, tokens, until
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.real_engine, pytest.mark.asyncio(loop_scope="module")]

LONG = GenerateRequest("long", "tiny", (9,) * 180, SamplingParams(max_tokens=9, seed=7))
SLOW = [request(f"slow {name}", max_tokens=400) for name in "abcdef"]
REQUESTS = [
    request("greedy"),
    request("drawn", temperature=1.3, top_p=0.9, seed=11, max_tokens=120),
    request("stopped", temperature=1.5, seed=5, stop=("e", "t"), ignore_eos=False),
    request("biased", logit_bias={40: 5.0}, repetition_penalty=1.2),
    replace(request("continued"), answer_start=1),
    LONG,
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EngineProcess]:
    async with running(tiny_store(tmp_path_factory.mktemp("models"))) as its:
        yield its


@pytest_asyncio.fixture(loop_scope="module")
async def process(engine: EngineProcess) -> AsyncIterator[EngineProcess]:
    """The engine of this module: nothing of it is held when a test is over."""
    yield engine
    await until_idle(engine)


async def until_idle(engine: EngineProcess) -> None:
    """Nothing runs any more, and every block is free again."""
    async with asyncio.timeout(HANG):
        while not all(its.is_idle for its in (await engine.report()).engines):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for its in (await engine.report()).engines:
        assert its.free_blocks == its.total_blocks


def told(events: list[EngineEvent]) -> tuple[Any, ...]:
    """All that may not depend on the joining of events, on the clock, and on earlier requests."""
    offsets = [offset for event in events if isinstance(event, Delta) for offset in event.offsets]
    finished = events[-1]
    assert isinstance(finished, Finished)
    seed = finished.seed if finished.reason != "length" else 0
    return (
        [event for event in events if isinstance(event, Began)],
        tokens(events),
        text(events),
        offsets,
        replace(finished, timings=Timings(), seed=seed, cached_tokens=0),
    )


async def told_alone(client: EngineClient) -> list[tuple[Any, ...]]:
    return [told(await read(client, each)) for each in REQUESTS]


# Streams


async def test_it_says_what_the_thread_says(process: EngineProcess, tmp_path: Path) -> None:
    thread = EngineThread(tiny_store(tmp_path), OPTIONS)
    await thread.start()
    expected = await told_alone(thread)
    await thread.stop()
    assert await told_alone(process) == expected
    streams = [read(process, replace(LONG, request_id=name)) for name in "abcdefgh"]
    for events in await asyncio.gather(*streams):
        assert told(events) == expected[-1]
    new = await read(process, replace(LONG, request_id="new", prompt_ids=(8,) * 180))
    progress = [event for event in new if isinstance(event, PromptProgress)]
    assert progress[-1] == PromptProgress(180, 180)


async def test_a_load_is_told_and_shown_in_the_status(process: EngineProcess) -> None:
    write_tiny_llama(process._store.models_dir / "half", seed=1)
    stream = process.stream(request("first", model="half"))
    events = [await anext(stream)]
    await rest(stream, events)
    loading = [event for event in events if isinstance(event, Loading)]
    assert events[: len(loading)] == loading != []
    assert len(tokens(events)) == 30
    status = await process.status()
    assert [model.names for model in status.models] == [("tiny", "tale"), ("half",)]
    assert all(model.size < status.budget and model.total_blocks for model in status.models)
    assert process._loaded == {process._directory(name) for name in ("tiny", "half")}


async def test_refusals_arrive_as_they_are(process: EngineProcess) -> None:
    with pytest.raises(ContextLengthExceeded) as refused:
        await read(process, GenerateRequest("a", "tiny", (9,) * 300_000))
    assert refused.value.fields == {"prompt_tokens": 300_000, "context_length": 512}
    with pytest.raises(InvalidParameter) as wrong:
        await read(process, GenerateRequest("a", "tiny", (9, 5000)))
    assert (wrong.value.fields["param"], wrong.value.status) == ("prompt token", 400)
    with pytest.raises(ModelNotFound):
        await read(process, request("a", model="nobody"))


async def test_closing_a_stream_frees_what_it_held(process: EngineProcess) -> None:
    expected = tokens(await read(process, request("alone")))
    other = asyncio.create_task(read(process, request("slow other")))
    async with aclosing(process.stream(request("slow", max_tokens=400))) as stream:
        await anext(stream)
        (state,) = (s for s in (await process.report()).engines if not s.is_idle)
        assert state.free_blocks < state.total_blocks
    reading = asyncio.create_task(read(process, replace(LONG, request_id="slow prompt")))
    await asyncio.sleep(0.02)
    reading.cancel()
    assert tokens(await other) == expected
    await until_idle(process)


async def test_a_second_stream_of_the_same_name_does_not_end_the_first(
    process: EngineProcess,
) -> None:
    first = asyncio.create_task(read(process, request("slow")))
    await asyncio.sleep(0)
    for _ in range(2):
        stream = process.stream(request("slow"))
        with pytest.raises(InvalidParameter, match="request_id = 'slow'"):
            await anext(stream)
    assert len(tokens(await first)) == 30


async def test_the_engine_does_not_wait_for_a_reader(process: EngineProcess) -> None:
    expected = told(await read(process, request("alone", max_tokens=300)))
    stalled = process.stream(request("stalled", max_tokens=300))
    events = [await anext(stalled)]
    assert len(tokens(await read(process, request("other")))) == 30
    await until_idle(process)
    await rest(stalled, events)
    assert told(events) == expected
    assert len(events) < 300


# What it is made of


async def test_there_is_no_django_in_it(process: EngineProcess, tmp_path: Path) -> None:
    await read(process, request(f"modules:{tmp_path / 'modules'}"))
    modules = {name.partition(".")[0] for name in (tmp_path / "modules").read_text().split()}
    assert "torch" in modules
    assert not modules & {"django", "chat", "channels", "ninja", "daphne", "pytest"}


async def test_it_logs_in_the_site_s_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with running(tiny_store(tmp_path), partial(obey, log=True)) as its:
        await read(its, request("named"))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told_of = {line["event"] for line in lines if line.get("request_id") == "named"}
    assert told_of == {"request.queued", "request.finished"}
    assert all({"timestamp", "level", "logger"} <= line.keys() for line in lines)


# The end


async def test_signals_of_a_terminal_do_not_end_it(process: EngineProcess) -> None:
    pid = pid_of(process)
    stream = process.stream(request("slow", max_tokens=100))
    events = [await anext(stream)]
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    await rest(stream, events)
    assert isinstance(events[-1], Finished)
    assert pid_of(process) == pid
    assert os.getpgid(pid) != os.getpgid(0)


async def test_stop_tells_its_readers_and_leaves_no_process(tmp_path: Path) -> None:
    async with running(tiny_store(tmp_path)) as its:
        ends = [asyncio.create_task(read(its, each)) for each in SLOW]
        asked = asyncio.create_task(its.report())
        await asyncio.sleep(0.05)
        pid = pid_of(its)
        await its.stop()
        assert not exists(pid)
        assert {*map(type, await asyncio.gather(*ends, return_exceptions=True))} == {EngineStopped}
        await asked
        with pytest.raises(EngineStopped):
            await read(its, request("late"))
        await its.stop()
        await its.start()
        assert len(tokens(await read(its, request("again")))) == 30


async def test_a_process_that_does_not_stop_is_made_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tiny_store(tmp_path)) as its:
        monkeypatch.setattr("inference.engine_process.STOP_WAIT_S", 0.1)
        reading = asyncio.create_task(read(its, SLOW[0]))
        await asyncio.sleep(0.05)
        os.kill(pid_of(its), signal.SIGSTOP)
        await its.stop()
        with pytest.raises(EngineStopped):
            await reading


async def test_stop_ends_a_process_that_is_being_started(tmp_path: Path) -> None:
    its = EngineProcess(tiny_store(tmp_path), OPTIONS, obey)
    starting = asyncio.create_task(its.start())
    await until(lambda: its._child is not None)
    pid = pid_of(its)
    await its.stop()
    assert not exists(pid)
    with pytest.raises(EngineStopped):
        await starting


async def test_it_is_never_started_says_so(tmp_path: Path) -> None:
    its = EngineProcess(tiny_store(tmp_path), OPTIONS)
    with pytest.raises(EngineStopped):
        await read(its, request("a"))
    await its.stop()
    assert [info.name for info in its.models()] == ["tiny", "half", "tale"]


ORPHAN = """
import asyncio, sys
from pathlib import Path
from tests.process_engine import pid_of, running, tiny_store
from tests.threaded_engine import request

async def main():
    async with running(tiny_store(Path(sys.argv[1]))) as its:
        async for event in its.stream(request("slow", max_tokens=400)):
            print("answered by", pid_of(its), flush=True)

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    """An orphan that has ended may wait long to be asked about: whoever inherits it is slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_it_dies_with_the_site(tmp_path: Path) -> None:
    site = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORPHAN, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert site.stdout is not None
    async with asyncio.timeout(HANG):
        said = b""
        while not said.startswith(b"answered by"):
            said = await site.stdout.readline()
        pid = int(said.split()[-1])
        assert is_running(pid)
        site.kill()
        await site.communicate()
    await until(lambda: not is_running(pid))
