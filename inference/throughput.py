"""How much an engine gets done without a server: requests of one size, so many at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from inference.config import ModelConfig
from inference.engine import Engine
from inference.errors import EngineError, InvalidParameter
from inference.kv_cache import BLOCK_SIZE
from inference.loading import load_codec, load_engine
from inference.machine import machine
from inference.options import EngineOptions
from inference.serving_metrics import RequestTimes, figures
from inference.types import Delta, Finished, GenerateRequest, ModelKind, SamplingParams


@dataclass(frozen=True, slots=True)
class Work:
    """Requests of `input_len` random tokens and `output_len` tokens of answer, of which
    `concurrency` are in the engine at a time. Raises InvalidParameter."""

    requests: int = 1000
    input_len: int = 128
    output_len: int = 128
    concurrency: int = 32

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise InvalidParameter(name, value, "at least 1")

    def options(self, options: EngineOptions) -> EngineOptions:
        """`options` with a seat and room in the cache for each request, and without reuse: what
        was read before would count as read again."""
        seats, blocks = self.concurrency, -(-(self.input_len + self.output_len) // BLOCK_SIZE)
        return replace(
            options,
            reuse=False,
            max_batch=seats,
            kv_tokens=seats * (blocks + 1) * BLOCK_SIZE,
            step_tokens=max(options.step_tokens, 2 * seats),
            queue_limit=seats,
            beat_s=0,
        )

    def prompts(self, vocabulary: int, seed: int = 0) -> list[GenerateRequest]:
        """The requests, with tokens below `vocabulary`."""
        draw = Random(seed)
        sampling = SamplingParams(max_tokens=self.output_len, ignore_eos=True, seed=seed)
        return [
            GenerateRequest(
                f"{seed}-{index}",
                "bench",
                tuple(draw.choices(range(vocabulary), k=self.input_len)),
                sampling,
            )
            for index in range(self.requests)
        ]


def throughput(directory: Path, work: Work, options: EngineOptions) -> dict[str, Any]:
    """The whole report, ready for JSON. `options.device` is cpu or cuda. Raises EngineError."""
    options = work.options(options)
    config = ModelConfig.load(directory, options.context_tokens)
    if work.input_len + work.output_len > config.context_length:
        room = config.context_length - work.input_len
        raise InvalidParameter("output_len", work.output_len, f"at most {room} after such a prompt")
    codec = load_codec(directory, ModelKind.COMPLETION, options)
    engine = load_engine(directory, codec, options)
    # once over, uncounted: a first use compiles kernels and takes memory
    first = replace(work, requests=min(work.requests, work.concurrency), output_len=1)
    measure(engine, first.prompts(config.vocab_size, seed=1), work.concurrency)
    done, seconds = measure(engine, work.prompts(config.vocab_size), work.concurrency)
    return {
        "machine": machine(options.device),
        "model": directory.name,
        "device": options.device,
        "work": asdict(work),
        **figures(done, seconds),
    }


def measure(
    engine: Engine, requests: Sequence[GenerateRequest], concurrency: int
) -> tuple[list[RequestTimes], float]:
    """Each request's times, in the order in which they ended, and the seconds of all together.
    The next request is added where one has ended. Raises EngineError: a request that failed is no
    measurement."""
    waiting = iter(requests)
    sent: dict[str, float] = {}
    arrivals: dict[str, list[float]] = {}
    done: list[RequestTimes] = []
    start = time.perf_counter()
    while len(done) < len(requests):
        for request in islice(waiting, concurrency - (len(sent) - len(done))):
            sent[request.request_id] = time.perf_counter()
            arrivals[request.request_id] = []
            engine.add(request)
        events = engine.step()
        now = time.perf_counter()
        for name, event in events:
            if isinstance(event, EngineError):
                raise event
            if isinstance(event, Delta):
                arrivals[name].append(now)
            elif isinstance(event, Finished):
                tokens = event.prompt_tokens, event.output_tokens
                done.append(RequestTimes(sent[name], tuple(arrivals[name]), *tokens))
    return done, time.perf_counter() - start
