"""Generation without a server: one model directory, one request, the same engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.client import PromptCodec
from inference.engine import Engine, StepEvents
from inference.errors import EngineError
from inference.loading import load_codec, load_runner
from inference.options import EngineOptions
from inference.runner import Runner
from inference.types import Delta, EngineEvent, Finished, GenerateRequest, ModelKind, SamplingParams


@dataclass(frozen=True, slots=True)
class Generated:
    """One continuation: its text, its tokens and how it ended."""

    text: str
    token_ids: tuple[int, ...]
    finished: Finished


class OfflineModel:
    """A model from a directory, driven by the calling thread."""

    def __init__(self, directory: Path, kind: ModelKind, options: EngineOptions) -> None:
        """Raises ModelUnavailable and its subclasses."""
        self.codec: PromptCodec = load_codec(directory, kind, options)
        self.runner: Runner
        self.runner, self.options = load_runner(directory, options)
        self.engine = Engine(self.runner, self.codec, self.options)

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: SamplingParams,
        on_text: Callable[[str], None] = lambda text: None,
        *,
        answer_start: int | None = None,
    ) -> Generated:
        """Run one request to its end; answer_start as in `GenerateRequest`. Raises EngineError."""
        deltas = [Delta("", (), ())]
        ends: list[Finished] = []

        def collect(events: Sequence[tuple[str, EngineEvent | EngineError]]) -> None:
            for _, event in events:
                if isinstance(event, EngineError):
                    raise event
                if isinstance(event, Delta):
                    deltas.append(event)
                    on_text(event.text)
                elif isinstance(event, Finished):
                    ends.append(event)

        request = GenerateRequest(
            "offline", "offline", tuple(prompt_ids), sampling, answer_start=answer_start
        )
        run_to_end(self.engine, [request], collect)
        text = "".join(delta.text for delta in deltas)
        token_ids = tuple(token for delta in deltas for token in delta.token_ids)
        return Generated(text, token_ids, ends[0])


def run_to_end(
    engine: Engine, requests: list[GenerateRequest], on_step: Callable[[StepEvents], None]
) -> None:
    """Add the requests and step until all have ended: the whole engine without a thread."""
    for request in requests:
        engine.add(request)
    while not engine.is_idle:
        on_step(engine.step())
