"""A real engine on a tiny random Llama, driven step by step, with a runner that can be told what
to say and that remembers what it was asked to compute.

Import the fixtures by name into a test module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from inference import prompt_codec
from inference.engine import Engine, StepEvents
from inference.errors import EngineError
from inference.kv_files import KVFiles
from inference.loading import kv_of_model
from inference.options import EngineOptions
from inference.prompt_codec import TokenizerCodec
from inference.prompt_lookup import DraftCost
from inference.runner import Array, ModelRunner
from inference.scheduler import Chunk
from inference.types import (
    Began,
    Delta,
    Finished,
    GenerateRequest,
    ModelKind,
    PromptProgress,
    Queued,
    SamplingParams,
)
from tests.kernel_cases import poisoned
from tests.tiny_llama import FIRST_BYTE_ID, write_tiny_llama

__all__ = ["engines", "poisoned", "tiny", "tiny_half"]

_Event = TypeVar("_Event")

CONTEXT = 128
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)


def byte_ids(text: str | bytes) -> list[int]:
    """One token for each byte."""
    data = text.encode() if isinstance(text, str) else text
    return [FIRST_BYTE_ID + byte for byte in data]


class ToldRunner(ModelRunner):
    """says: by request, the tokens whose logits are made the largest, one after another. fails:
    raised by the next steps. steps: (request, computed before, length) of every chunk of each.
    draft_cost: low, so that much is guessed."""

    draft_cost = DraftCost(row=0.02, step=0)

    def __init__(self, directory: Path, options: EngineOptions) -> None:
        super().__init__(directory, options)
        self.says: dict[str, list[int]] = {}
        self.fails: list[Exception] = []
        self.steps: list[list[tuple[str, int, int]]] = []
        self.logits: dict[tuple[str, int], Array] = {}

    def run(self, chunks: tuple[Chunk, ...]) -> Array:
        names = [chunk.sequence.request.request_id for chunk in chunks]
        self.steps.append(
            [(name, c.sequence.computed, c.size) for name, c in zip(names, chunks, strict=True)]
        )
        if self.fails:
            raise self.fails.pop()
        logits = super().run(chunks).copy()
        rows = [(chunk.sequence, i) for chunk in chunks for i in range(chunk.rows)]
        for (sequence, guesses), row in zip(rows, logits, strict=True):
            name, position = sequence.request.request_id, sequence.output_length + guesses
            self.logits[name, position] = row.copy()
            if position < len(self.says.get(name, ())):
                row[self.says[name][position]] = 1000
        return logits

    def computed(self, name: str) -> list[int]:
        """How many tokens of a request each step computed, where it did."""
        return [length for step in self.steps for its, _, length in step if its == name]


@dataclass
class Answer:
    """What came out for one request."""

    events: list[object] = field(default_factory=list)

    def of(self, kind: type[_Event]) -> list[_Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.of(Delta))

    @property
    def token_ids(self) -> list[int]:
        return [token for delta in self.of(Delta) for token in delta.token_ids]

    @property
    def offsets(self) -> list[int]:
        return [offset for delta in self.of(Delta) for offset in delta.offsets]

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.of(Queued)]

    @property
    def progress(self) -> list[tuple[int, int]]:
        return [(event.done, event.total) for event in self.of(PromptProgress)]

    @property
    def error(self) -> EngineError:
        (error,) = self.of(EngineError)
        assert error is self.events[-1]
        return error

    @property
    def began(self) -> Began:
        (began,) = self.of(Began)
        return began

    @property
    def finished(self) -> Finished:
        (finished,) = self.of(Finished)
        assert finished is self.events[-1]
        return finished


class TinyEngine:
    """An engine and everything that it said so far."""

    def __init__(self, directory: Path, files: KVFiles | None = None, **options: Any) -> None:
        defaults = {"kv_tokens": 1024, "max_batch": 8, "step_tokens": 64, "threads": 1}
        self.options = EngineOptions(**(defaults | options))
        self.codec: TokenizerCodec = prompt_codec.load(directory, ModelKind.CHAT, "weights", "auto")
        self.runner = ToldRunner(directory, self.options)
        saved = kv_of_model(files, self.runner, self.codec, self.options) if files else None
        self.engine = Engine(self.runner, self.codec, self.options, saved)
        self.answers: dict[str, Answer] = {}

    def add(
        self, name: str, prompt: list[int] | str, sampling: SamplingParams = GREEDY, **fields: Any
    ) -> None:
        ids = tuple(self.codec.encode(prompt) if isinstance(prompt, str) else prompt)
        self.engine.add(GenerateRequest(name, "tiny", ids, sampling, **fields))
        self.answers[name] = Answer()

    def step(self) -> StepEvents:
        events = self.engine.step()
        for name, event in events:
            self.answers[name].events.append(event)
        self.engine.cache.check_integrity()
        return events

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Step until the condition holds, or all is done."""
        while not self.engine.is_idle and not until():
            self.step()

    def answer(
        self, prompt: list[int] | str, sampling: SamplingParams = GREEDY, **fields: Any
    ) -> Answer:
        """Of one request alone."""
        name = f"alone-{len(self.answers)}"
        self.add(name, prompt, sampling, **fields)
        self.run()
        return self.answers[name]


def assert_same(one: TinyEngine, other: TinyEngine, name: str) -> None:
    """Two engines computed the same logits for a request, as long as both saw the same tokens,
    which they do until two logits are as good as equal. Sums are made in another order; where
    that tips a number that is rounded for the cache, its last bit is another one."""
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3}[one.runner.dtype]
    position = 0
    while (name, position) in one.runner.logits:
        first, second = one.runner.logits[name, position], other.runner.logits[name, position]
        allowed = tolerance * float(np.abs(first).max())
        difference = float(np.abs(first - second).max())
        assert difference <= allowed, f"token {position} of {name}: logits differ by {difference}"
        if first.argmax() != second.argmax():
            break
        position += 1
    assert position, f"{name} was not computed"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in fp32."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny", context=CONTEXT)


@pytest.fixture(scope="session")
def tiny_half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in fp16."""
    directory = tmp_path_factory.mktemp("tiny") / "half"
    return write_tiny_llama(directory, context=CONTEXT, dtype="float16", tied=False)


@pytest.fixture
def engines(tiny: Path, poisoned: None) -> Iterator[Callable[..., TinyEngine]]:
    """Makes engines, on `tiny` if not told otherwise; in the end their caches add up. What nobody
    has written yet in a cache is NaN."""
    made: list[TinyEngine] = []

    def make(directory: Path = tiny, **options: Any) -> TinyEngine:
        made.append(TinyEngine(directory, **options))
        return made[-1]

    yield make
    for its in made:
        its.engine.cache.check_integrity()
        if its.engine.is_idle:
            assert its.engine.cache.free_blocks == its.engine.cache.total_blocks
