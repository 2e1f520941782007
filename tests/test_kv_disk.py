"""What a session has computed outlives the engine: saved when it rests or the engine stops, loaded
when it comes again, and never trusted blindly."""

from __future__ import annotations

import asyncio
import resource
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from safetensors import safe_open

from inference.errors import EngineStopped
from inference.kv_cache import BLOCK_SIZE
from inference.kv_files import saved_sessions
from inference.model_store import ModelStore
from inference.types import EngineEvent, Finished, GenerateRequest, SamplingParams
from tests.kept_engine import Talk, files_of, started, text
from tests.process_engine import running, tiny_store
from tests.threaded_engine import Gate, gate, read, store, until
from tests.tiny_llama import write_tiny_llama

__all__ = ["gate", "store"]

pytestmark = pytest.mark.real_engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kv"


async def talked(store: ModelStore, folder: Path, turns: int = 5, **options: Any) -> Talk:
    """A talk with an engine that has stopped since."""
    talk = Talk("talk")
    async with started(store, folder, **options) as engine:
        for _ in range(turns):
            await talk.turn(engine)
    return talk


async def test_after_a_restart_the_next_turn_reads_only_what_is_new_and_says_the_same(
    store: ModelStore, tmp_path: Path
) -> None:
    alone = Talk("talk")
    async with started(store, None, deterministic=True) as engine:
        for _ in range(6):
            await alone.turn(engine)
    talk = await talked(store, tmp_path / "kv", deterministic=True)
    before = len(talk.said)
    async with started(store, tmp_path / "kv", deterministic=True) as engine:
        finished = await talk.turn(engine)
    assert talk.said == alone.said
    assert finished.cached_tokens >= 0.9 * before
    assert finished.cached_tokens == (before - 1) // BLOCK_SIZE * BLOCK_SIZE


async def test_the_same_through_a_process(tmp_path: Path) -> None:
    store, talk = tiny_store(tmp_path), Talk("talk")
    options: dict[str, Any] = {"kv_folder": tmp_path / "kv"}
    async with running(store, **options) as process:
        for _ in range(2):
            await talk.turn(process)
    before = len(talk.said)
    async with running(store, **options) as process:
        assert (await talk.turn(process)).cached_tokens >= 0.9 * before
        await asyncio.wrap_future(process.forget([talk.session]))
        assert files_of(tmp_path / "kv", talk.session) == []
    assert files_of(tmp_path / "kv") == []


async def test_a_file_holds_blocks_and_no_text(store: ModelStore, folder: Path) -> None:
    talk = await talked(store, folder, turns=1)
    (path,) = files_of(folder, talk.session)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with safe_open(path, "np") as file:
        names = [name for name in file.keys() if name != "checksums"]  # noqa: SIM118
        assert len(names) == (len(talk.said) - 1) // BLOCK_SIZE
        assert {tuple(file.get_tensor(name).shape[-2:]) for name in names} == {(BLOCK_SIZE, 16)}
        assert set(file.metadata()) == {"format", "fingerprint"}


async def test_a_session_that_rests_is_saved_without_a_stop(
    store: ModelStore, folder: Path
) -> None:
    talk = Talk("talk")
    async with started(store, folder, kv_idle_s=0.05) as engine:
        await talk.turn(engine)
        await until(lambda: any(folder.glob("*/talk.safetensors")))
        written = files_of(folder)[0].stat().st_size
        finished = await talk.turn(engine)
        assert finished.cached_tokens > 0
        await until(lambda: files_of(folder)[0].stat().st_size > written)
    (path,) = files_of(folder)
    assert path.name == "talk.safetensors"


async def test_only_what_is_new_is_written(store: ModelStore, folder: Path) -> None:
    talk = await talked(store, folder, turns=2)
    (path,) = files_of(folder)
    written = path.stat().st_ino
    async with started(store, folder) as engine:
        await read(engine, whole(talk, "again"))
    assert path.stat().st_ino == written


def whole(talk: Talk, name: str, *, session: str | None = "talk") -> GenerateRequest:
    """All that was said, and one token more is asked for."""
    sampling = SamplingParams(temperature=0, max_tokens=1)
    return GenerateRequest(name, "tiny", tuple(talk.said), sampling, session=session)


def cached(events: list[EngineEvent]) -> int:
    finished = events[-1]
    assert isinstance(finished, Finished)
    return finished.cached_tokens


Damage = Callable[[bytearray], bytes]
DAMAGE: dict[str, Damage] = {
    "cut": lambda data: bytes(data[:-100]),
    "cut in its header": lambda data: bytes(data[:50]),
    "empty": lambda data: b"",
    "no file of ours": lambda data: b"x" * 5000,
    "longer": lambda data: bytes(data) + b"1234",
    "other shapes": lambda data: bytes(data).replace(b"[2,2,2,16,16]", b"[2,2,4,16,08]", 1),
    "another model's": lambda data: bytes(data).replace(b"vocab_size=512", b"vocab_size=513"),
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_file_that_is_no_good_is_removed_and_the_prompt_computed(
    store: ModelStore, folder: Path, kind: str
) -> None:
    talk = await talked(store, folder, turns=1)
    (path,) = files_of(folder)
    whole = path.read_bytes()
    damaged = DAMAGE[kind](bytearray(whole))
    assert damaged != whole
    path.write_bytes(damaged)
    async with started(store, folder) as engine:
        with structlog.testing.capture_logs() as logs:
            finished = await talk.turn(engine)
        assert finished.cached_tokens == 0
        assert not path.exists()
        assert [log["session"] for log in logs if log["event"] == "kv.file_removed"] == ["talk"]
    assert path.stat().st_size > len(whole), "what was computed anew is saved anew"


async def test_a_bit_that_has_changed_is_noticed_and_what_stands_before_it_used(
    store: ModelStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.kv_saver.PIECE_BYTES", 1)  # a block is a piece
    alone = Talk("talk")
    async with started(store, None, deterministic=True) as engine:
        for _ in range(3):
            await alone.turn(engine)
    talk = await talked(store, folder, turns=2, deterministic=True)
    (path,) = files_of(folder)
    data = bytearray(path.read_bytes())
    blocks = (len(talk.said) - 1) // BLOCK_SIZE
    size = 2 * 2 * 2 * BLOCK_SIZE * 16 * 4
    end = len(data) - 8 * blocks
    data[end - (blocks - 3) * size + 5] ^= 1  # in the fourth block
    path.write_bytes(data)
    async with started(store, folder, deterministic=True) as engine:
        finished = await talk.turn(engine)
        assert finished.cached_tokens == 3 * BLOCK_SIZE
        assert not path.exists()
    assert talk.said == alone.said


async def test_other_weights_find_nothing(tmp_path: Path) -> None:
    """Nor what another mode of computing has left."""
    talk = await talked(tiny_store(tmp_path), tmp_path / "kv", turns=1)
    async with started(tiny_store(tmp_path), tmp_path / "kv", deterministic=True) as engine:
        assert (await talk.turn(engine)).cached_tokens == 0
    assert len(files_of(tmp_path / "kv")) == 2


async def test_who_is_computed_does_not_wait_for_who_is_loaded(
    store: ModelStore, folder: Path
) -> None:
    """While the reading thread is held, others get their tokens. A request that waits for it can
    be cancelled, and leaves nothing."""
    talk = await talked(store, folder, turns=3)
    async with started(store, folder) as engine:
        await Talk("first").turn(engine)
        held = threading.Event()
        assert engine._worker is not None
        assert engine._worker._files is not None
        engine._worker._files.reads.submit(held.wait, 60)
        leaves = asyncio.create_task(read(engine, whole(talk, "leaves")))
        waits = asyncio.create_task(talk.turn(engine))
        assert (await Talk("second").turn(engine)).output_tokens == 20
        leaves.cancel()
        assert not waits.done()
        await until(lambda: len(engine.engines()[0]._active) == 1)
        held.set()
        assert (await waits).cached_tokens > 100


async def test_a_stop_while_a_file_is_read(store: ModelStore, folder: Path) -> None:
    talk = await talked(store, folder, turns=2)
    async with started(store, folder) as engine:
        await Talk("first").turn(engine)
        asking = asyncio.create_task(talk.turn(engine))
        await until(lambda: bool(engine.engines()[0]._active) or asking.done())
        await engine.stop()
        with suppress(EngineStopped):
            await asking
    assert {path.stem for path in files_of(folder)} == {"talk", "first"}


async def test_a_session_longer_than_the_budget_is_saved_as_far_as_it_fits(
    store: ModelStore, folder: Path
) -> None:
    """A block of the tiny model has 8 KiB."""
    write_tiny_llama(folder.parent / "tiny", context=4096)
    talk = Talk("talk", text(3000, 1))
    sizes = {"kv_tokens": 4096, "kv_disk_mb": 1}
    async with started(store, folder, **sizes) as engine:
        await talk.turn(engine)
    (path,) = files_of(folder)
    assert 0.9 * 2**20 < path.stat().st_size <= 2**20
    async with started(store, folder, **sizes) as engine:
        assert 1900 < (await talk.turn(engine)).cached_tokens < 2048


async def test_a_budget_of_nothing_removes_what_there_was(store: ModelStore, folder: Path) -> None:
    talk = await talked(store, folder, turns=1)
    async with started(store, folder, kv_disk_mb=0) as engine:
        assert files_of(folder) == []
        assert (await talk.turn(engine)).cached_tokens == 0
    assert files_of(folder) == []


async def test_a_full_disk_loses_nothing_and_serving_goes_on(
    store: ModelStore, folder: Path
) -> None:
    talk = await talked(store, folder, turns=1)
    (path,) = files_of(folder)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with structlog.testing.capture_logs() as logs:
        async with started(store, folder, kv_idle_s=0.01) as engine:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, hard))
            try:
                await talk.turn(engine)
                await until(lambda: any(log["event"] == "kv.not_saved" for log in logs))
                assert (await talk.turn(engine)).cached_tokens > 60
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert files_of(folder) == [path]
            assert path.read_bytes() == before
            await talk.turn(engine)
            await until(lambda: path.stat().st_size > len(before))


async def test_a_deleted_session_is_not_found_any_more(store: ModelStore, folder: Path) -> None:
    """Neither on disk nor in the cache; a text that another session has too is still found."""
    shared = text(2 * BLOCK_SIZE, 9)
    async with started(store, folder, kv_idle_s=0.01) as engine:
        talk, other = Talk("talk", [*shared]), Talk("another", [*shared])
        for each in (talk, other):
            await each.turn(engine)
        await until(lambda: saved_sessions(folder) == {"talk", "another"})
        await asyncio.wrap_future(engine.forget(["talk"]))
        assert [path.stem for path in files_of(folder)] == ["another"]
        found = await read(engine, whole(talk, "again", session=None))
        assert cached(found) == 2 * BLOCK_SIZE
        assert cached(await read(engine, whole(other, "other"))) > 2 * BLOCK_SIZE


async def test_a_session_deleted_while_it_is_computed_leaves_nothing(
    store: ModelStore, gate: Gate, folder: Path
) -> None:
    talk = Talk("talk")
    async with started(store, folder, kv_idle_s=0.01) as engine:
        gate.close()
        turn = asyncio.create_task(talk.turn(engine))
        await until(lambda: len(gate.steps) == 1)
        gone = engine.forget(["talk"])
        gate.open = True
        gate.allow()
        await asyncio.wrap_future(gone)
        await turn
        found = await read(engine, whole(talk, "again", session=None))
        assert cached(found) == 0
    assert files_of(folder) == []
