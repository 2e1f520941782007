"""Whatever sessions do and whenever they are saved, loaded, cancelled and deleted: the books of the
cache add up, and a block holds what its name says, to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import kernels
from inference.kv_cache import BLOCK_SIZE, names_of
from inference.kv_files import KVFiles, saved_sessions
from inference.sequence import Sequence
from inference.types import GenerateRequest, SamplingParams
from tests.kept_engine import text
from tests.tiny_engine import TinyEngine, poisoned, tiny

__all__ = ["poisoned", "tiny"]

pytestmark = pytest.mark.real_engine

SESSIONS = ("a", "b", "c")
SHORT = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True)
# A small cache, so that room is short, and pieces of one block, so that much can come between.
OPTIONS = {"kv_tokens": 192, "max_batch": 2, "step_tokens": 32, "deterministic": True}
names = itertools.count()


class Sessions(RuleBasedStateMachine):
    """contents: of each name, the bytes of the first block that was seen under it."""

    model: Path
    folder: Path
    loaded = 0

    def __init__(self) -> None:
        super().__init__()
        self.home = self.folder / f"{next(names)}"
        self.said: dict[str, list[int]] = {session: text(5, 1) for session in SESSIONS}
        self.asked: dict[str, str] = {}
        self.contents: dict[bytes, bytes] = {}
        self.start()

    def start(self) -> None:
        self.files = KVFiles(self.home, 1 << 20)
        self.its = TinyEngine(self.model, self.files, kv_idle_s=0, **OPTIONS)

    @rule(session=st.sampled_from(SESSIONS), length=st.integers(10, 50))
    def ask(self, session: str, length: int) -> None:
        """Texts of all sessions begin alike."""
        if session in self.asked.values():
            return
        if len(self.said[session]) + length > 120:
            self.said[session] = text(5, 1)
        said = self.said[session]
        prompt = said + text(60, 3)[len(said) : len(said) + length]
        prompt = [*prompt, 6 + SESSIONS.index(session)]
        name = f"{session}{next(names)}"
        self.its.add(name, prompt, SHORT, session=session)
        self.said[session] = prompt
        self.asked[name] = session

    @rule(session=st.sampled_from(SESSIONS), length=st.integers(10, 50))
    def ask_and_wait(self, session: str, length: int) -> None:
        self.ask(session, length)
        while not self.its.engine.is_idle:
            self.step(1)

    @rule(session=st.sampled_from(SESSIONS), length=st.integers(10, 50), steps=st.integers(0, 5))
    def come_again(self, session: str, length: int, steps: int) -> None:
        """All stops, and this session is the first to ask."""
        self.ask_and_wait(session, length)
        self.start_again(saved=True)
        self.ask(session, length)
        self.step(steps)

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        for _ in range(count):
            self.its.step()
            Sessions.loaded += sum(bool(s.loading and s.cached) for s in self.running())
            for name in [name for name in self.asked if self.its.answers[name].events]:
                if self.its.answers[name].token_ids[2:]:
                    session = self.asked.pop(name)
                    self.said[session] += self.its.answers[name].token_ids

    def running(self) -> tuple[Sequence, ...]:
        return self.its.engine._scheduler.running

    @rule()
    def rest(self) -> None:
        for _ in range(200):
            if not self.its.engine.is_idle or self.its.engine.sessions.rest() is None:
                return
            self.files.writes.submit(int).result()
        pytest.fail("there is always more to save")

    @rule(piece=st.integers(0, 2))
    def cancel(self, piece: int) -> None:
        if self.asked:
            name = list(self.asked)[piece % len(self.asked)]
            self.its.engine.cancel(name)
            del self.asked[name]

    @rule(session=st.sampled_from(SESSIONS))
    def forget(self, session: str) -> None:
        self.its.engine.sessions.forget(session)
        self.files.forget([session]).result()
        assert session not in saved_sessions(self.home)
        running = session in self.asked.values()
        if not running:
            self.said[session] = text(5, 1)

    @rule(saved=st.booleans())
    def start_again(self, saved: bool) -> None:
        for name in self.asked:
            self.its.engine.cancel(name)
        self.asked.clear()
        self.its.engine.sessions.save(10 if saved else 0)
        self.files.close()
        self.start()

    @invariant()
    def blocks_hold_what_their_names_say(self) -> None:
        cache = self.its.engine.cache
        cache.check_integrity()
        if cache._named:
            data = self.its.runner.read_blocks(list(cache._named.values()))
            for name, block in zip(cache._named, data, strict=True):
                assert self.contents.setdefault(name, block.tobytes()) == block.tobytes()

    def teardown(self) -> None:
        self.start_again(saved=False)
        self.files.close()


# The same few each time: of random ones some runs would hardly load anything.
Sessions.TestCase.settings = settings(
    max_examples=6, stateful_step_count=20, deadline=None, derandomize=True
)


@pytest.fixture
def deterministic() -> Iterator[None]:
    kernels.use_products(kernels.Products(invariant=True))
    yield
    kernels.use_products(kernels.Products())


@pytest.mark.usefixtures("deterministic", "poisoned")
def test_sessions(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.kv_saver.PIECE_BYTES", 1)
    monkeypatch.setattr(Sessions, "model", tiny, raising=False)
    monkeypatch.setattr(Sessions, "folder", tmp_path, raising=False)
    Sessions.TestCase("runTest").runTest()
    assert Sessions.loaded > 20, "hardly anything was loaded"


@pytest.mark.usefixtures("poisoned")
def test_what_is_deleted_is_gone_from_the_cache_unless_others_have_it(tiny: Path) -> None:
    its = TinyEngine(tiny)
    shared, own = text(2 * BLOCK_SIZE, 1), text(2 * BLOCK_SIZE, 2)
    its.answer([*shared, *own], session="one")
    its.answer([*shared, 9], session="other")
    its.add("held", [*shared, *own, 9], session="third")
    its.step()
    assert found(its, [*shared, *own]) == 4
    its.engine.sessions.forget("one")
    assert found(its, [*shared, *own]) == 4, "the third session holds them"
    its.run()
    its.engine.sessions.forget("third")
    assert found(its, [*shared, *own]) == 2
    its.engine.sessions.forget("other")
    assert found(its, [*shared, *own]) == 0
    its.engine.cache.check_integrity()


@pytest.mark.usefixtures("poisoned")
def test_the_memory_of_sessions_does_not_grow_with_those_that_have_left_the_cache(
    tiny: Path,
) -> None:
    its = TinyEngine(tiny, kv_tokens=160)
    for i in range(600):
        its.engine.sessions._memory.remember(f"{i}", [i.to_bytes(16, "little")])
        its.engine.sessions._memory.unsaved.clear()
    assert len(its.engine.sessions._memory._sessions) <= 300
    assert len(its.engine.sessions._memory._sharers) <= 300


def found(its: TinyEngine, tokens: list[int]) -> int:
    asked = GenerateRequest("look", "tiny", (*tokens, 5))
    return len(its.engine.cache.find(names_of(Sequence(asked, 10**6, 0, 0))))
