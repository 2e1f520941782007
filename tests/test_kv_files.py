"""Files of blocks on disk: under a budget at every moment, the least recently used first to go."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inference.kv_files import KVFiles, ModelFiles, saved_sessions
from inference.safetensors_file import TensorLayout

BLOCK = TensorLayout("F16", (2, 2, 1, 16, 8))
NOW = 1_000_000.0


def names(count: int, seed: int = 0) -> list[bytes]:
    return [(1000 * seed + index).to_bytes(16, "little") for index in range(count)]


def blocks(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, BLOCK.nbytes), np.uint8)


def write(files: ModelFiles, session: str, count: int, used: float = NOW) -> bool:
    """A file in two pieces."""
    writing = files.write(session, names(count), used)
    for piece in np.array_split(blocks(count), 2):
        writing.append(piece)
    writing.finish()
    writing.wait()
    return writing.is_saved


def size(folder: Path) -> int:
    """A file that gets another name between the look at the folder and at the file is counted
    again."""
    while True:
        try:
            return sum(path.stat().st_size for path in folder.glob("*/*"))
        except FileNotFoundError:
            continue


@pytest.fixture
def budget(tmp_path: Path) -> int:
    """Room for three files of four blocks, and half of another one."""
    files = KVFiles(tmp_path / "measured", 10**9)
    assert write(files.of_model({}, BLOCK), "a", 4)
    return size(tmp_path / "measured") * 7 // 2


def test_what_was_written_is_read_piece_by_piece(tmp_path: Path) -> None:
    files = KVFiles(tmp_path, 10**9).of_model({"weights": "w"}, BLOCK)
    assert write(files, "a", 7)
    saved = files.open("a").result()
    assert saved is not None
    assert saved.names == names(7)
    for first, count in ((0, 7), (3, 2), (6, 1)):
        piece = saved.read(first, count).result()
        assert piece is not None
        assert (piece == blocks(7)[first : first + count]).all()
    saved.close()
    assert files.open("b").result() is None


def test_who_was_used_least_recently_goes_first(tmp_path: Path, budget: int) -> None:
    files = KVFiles(tmp_path / "kv", budget).of_model({}, BLOCK)
    for age, session in ((1, "newest"), (3, "oldest"), (2, "middle")):
        assert write(files, session, 4, NOW - age)
    assert write(files, "now", 4)
    assert saved_sessions(tmp_path / "kv") == {"newest", "middle", "now"}
    opened = files.open("middle").result()  # it is of use again
    assert opened is not None
    opened.close()
    assert write(files, "later", 4, time.time() + 9)
    assert saved_sessions(tmp_path / "kv") == {"middle", "now", "later"}


def test_nothing_goes_for_what_was_used_less_recently(tmp_path: Path, budget: int) -> None:
    files = KVFiles(tmp_path / "kv", budget).of_model({}, BLOCK)
    for session in "abc":
        assert write(files, session, 4)
    assert not write(files, "old", 4, NOW - 1)
    assert not write(files, "huge", 40, NOW + 1)
    assert saved_sessions(tmp_path / "kv") == {"a", "b", "c"}


def test_models_share_the_budget_and_not_their_files(tmp_path: Path, budget: int) -> None:
    files = KVFiles(tmp_path / "kv", budget)
    one, other = (files.of_model({"weights": name}, BLOCK) for name in ("one", "other"))
    assert write(one, "a", 4, NOW)
    assert not other.exists("a")
    for age, session in enumerate("abc", start=1):
        assert write(other, session, 4, NOW + age)
    assert not one.exists("a")
    files.forget(["a", "b"]).result()
    assert saved_sessions(tmp_path / "kv") == {"c"}


def test_the_most_blocks_fit_the_budget_and_hardly_more_would(tmp_path: Path) -> None:
    files = KVFiles(tmp_path, 10**6)
    its = files.of_model({"weights": "w" * 64}, BLOCK)
    assert write(its, "a", its.most_blocks)
    assert 0.8 * 10**6 < size(tmp_path) <= 10**6


def test_a_new_start_removes_what_was_not_finished_and_what_is_over_the_budget(
    tmp_path: Path, budget: int
) -> None:
    files = KVFiles(tmp_path / "kv", 10**9).of_model({}, BLOCK)
    for age, session in enumerate("abcde"):
        assert write(files, session, 4, NOW - age)
    unfinished = files.write("f", names(4), NOW)
    unfinished.wait()
    assert len(list((tmp_path / "kv").glob("*/*.part"))) == 1
    KVFiles(tmp_path / "kv", budget)
    assert sorted(path.name for path in (tmp_path / "kv").glob("*/*")) == [
        f"{session}.safetensors" for session in "abc"
    ]
    unfinished.abort()


def test_a_file_that_is_forgotten_while_it_is_written_never_appears(tmp_path: Path) -> None:
    files = KVFiles(tmp_path, 10**9)
    writing = files.of_model({}, BLOCK).write("a", names(4), NOW)
    held = threading.Event()
    files.writes.submit(held.wait, 60)
    writing.append(blocks(4))
    writing.finish()
    writing.abort()
    gone = files.forget(["a"])
    held.set()
    gone.result()
    assert list(tmp_path.glob("*/*")) == []
    assert not writing.is_saved


@pytest.fixture(autouse=True)
def _root(tmp_path: Path) -> None:
    Folder.root = tmp_path / "folders"


class Folder(RuleBasedStateMachine):
    """Saves of any size, finished, aborted or left alone, between deletions."""

    root: Path
    folders = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.folder = self.root / f"{next(self.folders)}"
        self.files = KVFiles(self.folder, 20_000)
        self.model = self.files.of_model({}, BLOCK)
        self.open: list[Any] = []

    @rule(session=st.sampled_from("abcd"), count=st.integers(1, 12), age=st.integers(0, 9))
    def begin(self, session: str, count: int, age: int) -> None:
        if len(self.open) < 2:
            writing = self.model.write(session, names(count), NOW - age)
            writing.append(blocks(count))
            self.open.append(writing)

    @rule(finished=st.booleans())
    def end(self, finished: bool) -> None:
        if self.open:
            writing = self.open.pop()
            writing.finish() if finished else writing.abort()

    @rule(session=st.sampled_from("abcd"))
    def forget(self, session: str) -> None:
        self.files.forget([session]).result()
        assert not self.model.exists(session)

    @invariant()
    def the_budget_holds(self) -> None:
        assert size(self.folder) <= 20_000
        self.files.writes.submit(int).result()
        assert size(self.folder) <= 20_000
        for session in saved_sessions(self.folder):
            assert self.is_whole(session)

    def is_whole(self, session: str) -> bool:
        saved = self.model.open(session).result()
        if saved is None:
            return False
        found = saved.read(0, len(saved.names)).result()
        saved.close()
        return found is not None and bool((found == blocks(len(saved.names))).all())

    def teardown(self) -> None:
        for writing in self.open:
            writing.abort()
        self.files.close()
        assert not list(self.folder.glob("*/*.part"))


Folder.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
test_folder = Folder.TestCase
