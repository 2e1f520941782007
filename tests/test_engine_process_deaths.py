"""An engine process that dies: its readers are told, and another one takes its place."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from inference.engine_process import EngineProcess
from inference.errors import EngineCrashed, EngineStopped, ModelInvalid
from inference.restarts import AT_ONCE
from inference.types import EngineEvent
from tests.child_orders import TRAP, die_from_start
from tests.process_engine import OPTIONS, exists, pid_of, running, tiny_store
from tests.threaded_engine import HANG, read, request, rest, tokens, until
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.real_engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EngineProcess]:
    """One engine for all deaths, each followed by the next process at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.restarts.AT_ONCE", 1000)
        async with running(tiny_store(tmp_path_factory.mktemp("models"))) as its:
            yield its


async def answers(engine: EngineProcess) -> list[int]:
    return tokens(await read(engine, request("sound")))


async def read_to_its_end(
    engine: EngineProcess, name: str, events: list[EngineEvent]
) -> EngineCrashed:
    with pytest.raises(EngineCrashed) as crashed:
        await rest(engine.stream(request(name, max_tokens=400)), events)
    return crashed.value


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("kill", "its process was ended by signal 9 (Killed)"),
        ("crash", "its process was ended by signal 11 (Segmentation fault)"),
        ("exit", "its process ended with status 7"),
        ("lose", f"the GPU is lost to its process ({TRAP})"),
    ],
)
async def test_all_its_readers_keep_what_they_have_and_may_try_again(
    process: EngineProcess, order: str, reason: str
) -> None:
    expected, pid = await answers(process), pid_of(process)
    names = [f"{order}-30", *(f"slow {i}" for i in range(6))]
    said: dict[str, list[EngineEvent]] = {name: [] for name in names}
    reading = [read_to_its_end(process, name, events) for name, events in said.items()]
    async with asyncio.timeout(HANG):
        crashes = await asyncio.gather(*reading)  # the last ones wait for a seat
    for error in crashes:
        assert error.fields == {"reason": reason, "retry_after_s": error.fields["retry_after_s"]}
        assert error.fields["retry_after_s"] >= 1
        assert (error.status, error.retryable, error.code) == (503, True, "engine_crashed")
        assert reason in error.message
        assert "text so far is kept" in error.message
    texts = [tokens(events)[:30] for events in said.values()]
    assert all(its == expected[: len(its)] for its in texts)
    assert sum(map(bool, texts)) == OPTIONS.max_batch
    assert await answers(process) == expected
    assert pid_of(process) != pid
    assert not exists(pid)


async def test_a_mistake_of_the_engine_is_told_and_survived(process: EngineProcess) -> None:
    with pytest.raises(EngineStopped) as stopped:
        await read(process, request("bug"))
    assert stopped.value.retryable
    assert len(await answers(process)) == 30
    assert process._farewell == ""


async def test_killed_from_outside_it_is_replaced_with_its_models(process: EngineProcess) -> None:
    """A request that comes meanwhile waits for the next process."""
    half = write_tiny_llama(process._store.models_dir / "half", seed=1)
    await read(process, request("a", model="half"))
    expected, pid = await answers(process), pid_of(process)
    stream = process.stream(request("slow", max_tokens=400))
    events = [await anext(stream)]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed):
        await rest(stream, events)
    assert await answers(process) == expected
    report = await process.report()
    assert {state.directory.name for state in report.engines} == {"tiny", "half"}
    # A model that is broken by the time it would be loaded again is told to whoever asks.
    (half / "model.safetensors").write_bytes(b"")
    os.kill(pid_of(process), signal.SIGKILL)
    await until(lambda: not process._ready.done())
    with pytest.raises(ModelInvalid):
        await read(process, request("a", model="half"))
    assert await answers(process) == expected


@pytest.mark.parametrize(("order", "reason"), [("exit", "status 7"), ("lose", "GPU is lost")])
async def test_a_model_that_kills_its_process_is_not_tried_again_by_itself(
    process: EngineProcess, order: str, reason: str
) -> None:
    deadly = write_tiny_llama(process._store.models_dir / f"deadly-{order}")
    (deadly / order).touch()
    with pytest.raises(EngineCrashed, match=reason):
        await read(process, request("a", model=deadly.name))
    assert len(await answers(process)) == 30


async def test_waiting_for_the_next_process_has_an_end(
    process: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.engine_process.START_WAIT_S", 0.01)
    os.kill(pid_of(process), signal.SIGKILL)
    await until(lambda: not process._ready.done())
    with pytest.raises(EngineCrashed, match="still being started"):
        await read(process, request("a"))
    monkeypatch.undo()
    assert len(await answers(process)) == 30


# Again and again


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `die_from_start` counts. Deaths are throttled as they are outside of this module."""
    monkeypatch.setattr("inference.restarts.AT_ONCE", AT_ONCE)
    (tmp_path / "starts").mkdir()
    return tmp_path / "starts"


def count(starts: Path) -> int:
    return len(list(starts.iterdir()))


async def test_an_engine_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, starts: Path
) -> None:
    its = EngineProcess(
        tiny_store(tmp_path / "models"), OPTIONS, partial(die_from_start, starts, 1, 99)
    )
    with pytest.raises(EngineCrashed, match="status 9"):
        await its.start()
    assert count(starts) == 3
    assert not exists(pid_of(its))
    with pytest.raises(EngineStopped):
        await read(its, request("a"))


async def test_deaths_in_a_row_are_throttled_and_told(
    tmp_path: Path, starts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third nothing is started for long, and requests hear why at once."""
    monkeypatch.setattr("inference.restarts.FIRST_PAUSE_S", HANG)
    async with running(tiny_store(tmp_path / "m"), partial(die_from_start, starts, 2, 9)) as its:
        assert len(await answers(its)) == 30
        os.kill(pid_of(its), signal.SIGKILL)
        await until(lambda: not its._ready.done())
        for _ in range(3):  # the first waits for what then never comes
            with pytest.raises(EngineCrashed, match="its process ended with status 9"):
                await answers(its)
        assert count(starts) == 3


async def test_after_a_pause_it_is_tried_again(
    tmp_path: Path, starts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.restarts.FIRST_PAUSE_S", 0.2)
    async with running(tiny_store(tmp_path / "m"), partial(die_from_start, starts, 2, 4)) as its:
        expected = await answers(its)
        os.kill(pid_of(its), signal.SIGKILL)
        await until(lambda: count(starts) == 5)
        assert await answers(its) == expected
