"""Saved blocks with keys: unreadable without them, bound to their session, and never an error."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from inference.kv_files import KVFiles, ModelFiles, saved_sessions
from inference.options import EngineOptions
from inference.safetensors_file import DamagedFileError, TensorLayout
from inference.sealed_file import HEAD_BYTES, PIECE_BYTES, TAG_BYTES, Keys
from tests.kept_engine import Talk, files_of, started
from tests.process_engine import running, tiny_store
from tests.test_kv_files import blocks, names, size, write

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
BLOCK = TensorLayout("F16", (2, 2, 1, 16, 8))


def model(folder: Path, *keys: str, budget: int = 10**9) -> ModelFiles:
    return KVFiles(folder, budget, Keys(keys)).of_model({"weights": "w"}, BLOCK)


def only(folder: Path) -> Path:
    (path,) = folder.glob("*/*.safetensors")
    return path


@pytest.mark.parametrize(
    "length", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]
)
def test_what_is_written_is_read_at_any_place(tmp_path: Path, length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    keys, path = Keys([NEW]), tmp_path / "file"
    file = keys.create(path, "its name")
    for begin in range(0, length, 50_000):
        file.write(data[begin : begin + 50_000])
    file.close()
    assert path.stat().st_size == keys.stored_size(length)
    assert length < 100 or data[:100] not in path.read_bytes()
    with keys.open(path, "its name") as read:
        assert read.read() == data
        for at in (0, length // 2, max(0, length - 1)):
            read.seek(at)
            assert read.read(5) == data[at : at + 5]
        assert read.seek(0, 2) == length


def cut_a_piece(data: bytearray) -> bytes:
    return bytes(data[: HEAD_BYTES + 2 * (PIECE_BYTES + TAG_BYTES)])


def swap_pieces(data: bytearray) -> bytes:
    size = PIECE_BYTES + TAG_BYTES
    first, second = (data[HEAD_BYTES + n * size :][:size] for n in (0, 1))
    return bytes(data[:HEAD_BYTES] + second + first + data[HEAD_BYTES + 2 * size :])


def flip(data: bytearray) -> bytes:
    data[HEAD_BYTES + 3] ^= 1
    return bytes(data)


@pytest.mark.parametrize("change", [cut_a_piece, swap_pieces, flip])
def test_a_change_is_noticed(tmp_path: Path, change: Callable[[bytearray], bytes]) -> None:
    keys, path = Keys([NEW]), tmp_path / "file"
    file = keys.create(path, "name")
    file.write(b"some" * PIECE_BYTES)
    file.close()
    path.write_bytes(change(bytearray(path.read_bytes())))
    with keys.open(path, "name") as read, pytest.raises(DamagedFileError):
        read.read()


def test_a_key_is_32_bytes_and_never_shown() -> None:
    with pytest.raises(ValueError, match="not 5 characters"):
        Keys(["short"])
    assert NEW not in repr(EngineOptions(kv_keys=(NEW,)))


def test_blocks_and_their_names_are_not_in_the_file(tmp_path: Path) -> None:
    files = model(tmp_path, NEW)
    assert write(files, "a", 7)
    data = only(tmp_path).read_bytes()
    assert names(1)[0].hex().encode() not in data
    assert blocks(7)[0].tobytes()[:64] not in data
    saved = files.open("a").result()
    assert saved is not None
    assert saved.names == names(7)
    for first, count in ((0, 7), (3, 2), (6, 1)):
        piece = saved.read(first, count).result()
        assert piece is not None
        assert (piece == blocks(7)[first : first + count]).all()
    saved.close()


def test_the_budget_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    its = model(tmp_path, NEW, budget=10**6)
    assert write(its, "a", its.most_blocks)
    assert 0.8 * 10**6 < size(tmp_path) <= 10**6


@pytest.mark.parametrize("stored", [HEAD_BYTES + TAG_BYTES + 1, 65_580, 65_581, 10**6])
def test_the_longest_file_that_fits_fits_and_no_longer_one(stored: int) -> None:
    keys = Keys([NEW])
    assert keys.stored_size(keys.room(stored)) <= stored
    assert keys.stored_size(keys.room(stored) + 1) > stored


def test_an_older_key_opens_and_a_foreign_one_is_a_miss(tmp_path: Path) -> None:
    foreign, both = model(tmp_path, NEW), model(tmp_path, NEW, OLD)
    assert write(model(tmp_path, OLD), "a", 4)
    saved = both.open("a").result()
    assert saved is not None
    saved.close()
    with structlog.testing.capture_logs() as logs:
        assert foreign.open("a").result() is None
    assert [log["event"] for log in logs] == ["kv.file_removed"]
    assert saved_sessions(tmp_path) == set()


def test_a_start_with_keys_removes_what_they_do_not_open(tmp_path: Path) -> None:
    assert write(model(tmp_path), "plain", 4)
    assert write(model(tmp_path, OLD), "old", 4)
    assert saved_sessions(tmp_path) == {"old"}
    model(tmp_path, NEW, OLD)
    assert saved_sessions(tmp_path) == {"old"}
    model(tmp_path, NEW)
    assert saved_sessions(tmp_path) == set()


def test_a_file_in_place_of_another_sessions_is_a_miss(tmp_path: Path) -> None:
    files = model(tmp_path, NEW)
    assert write(files, "a", 4)
    path = only(tmp_path)
    path.rename(path.with_stem("b"))
    with structlog.testing.capture_logs() as logs:
        assert files.open("b").result() is None
    assert [log["session"] for log in logs] == ["b"]


def test_without_keys_a_sealed_file_is_a_miss(tmp_path: Path) -> None:
    assert write(model(tmp_path, NEW), "a", 4)
    with structlog.testing.capture_logs() as logs:
        assert model(tmp_path).open("a").result() is None
    assert [log["event"] for log in logs] == ["kv.file_removed"]


@pytest.mark.real_engine
async def test_a_session_goes_on_after_a_restart(tmp_path: Path) -> None:
    store, folder, talk = tiny_store(tmp_path / "models"), tmp_path / "kv", Talk("talk")
    async with started(store, folder, kv_keys=(OLD,)) as engine:
        for _ in range(2):
            await talk.turn(engine)
    (path,) = files_of(folder)
    assert b"fingerprint" not in path.read_bytes()
    before = len(talk.said)
    async with started(store, folder, kv_keys=(NEW, OLD)) as engine:
        assert (await talk.turn(engine)).cached_tokens >= 0.9 * before
    async with started(store, folder, kv_keys=(OLD,)) as engine:
        assert (await talk.turn(engine)).cached_tokens == 0


@pytest.mark.real_engine
async def test_the_same_through_a_process(tmp_path: Path) -> None:
    store, talk = tiny_store(tmp_path / "models"), Talk("talk")
    options: dict[str, Any] = {"kv_folder": tmp_path / "kv", "kv_keys": (NEW,)}
    async with running(store, **options) as process:
        await talk.turn(process)
    (path,) = files_of(tmp_path / "kv")
    assert b"fingerprint" not in path.read_bytes()
    before = len(talk.said)
    async with running(store, **options) as process:
        assert (await talk.turn(process)).cached_tokens >= 0.8 * before
