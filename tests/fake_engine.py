"""A scripted engine that speaks `inference.client.EngineClient`, for tests of `chat/` alone.

Its codec is one token per byte, so every id, offset and prompt in a test can be read by eye.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Future

from inference.errors import EngineStopped, ModelBusy, ModelNotFound, ModelUnavailable
from inference.examination import (
    Alternative,
    Embedded,
    Embedding,
    Examined,
    Inspected,
    Question,
    Scored,
    Scoring,
    TokenOdds,
    TraceRequest,
)
from inference.types import (
    Began,
    Delta,
    EngineEvent,
    EngineSetup,
    EngineStatus,
    Finished,
    FinishReason,
    GenerateRequest,
    Loading,
    ModelInfo,
    ModelKind,
    ModelStatus,
    PromptProgress,
    Queued,
    SamplingParams,
    Take,
    Timings,
    TokenLogprobs,
)
from tests.byte_codec import END, START, ByteCodec
from tests.fake_trace import TRACE

__all__ = ["END", "START", "ByteCodec"]

LIKELY, UNLIKELY = math.log(0.75), math.log(0.25)
"""Of each token, and of the one other that might have come."""

SETUP = EngineSetup("cpu", "scripted", "float32", "fp32")
"""What it says of itself."""

Step = str | EngineEvent | Exception | asyncio.Event
"""A piece of text, an event as it is, an error to raise, or a gate to wait at."""
Script = Callable[[GenerateRequest], Iterable[Step]]


def text_delta(text: str, start: int) -> Delta:
    """`text` as a delta that begins `start` characters into the answer."""
    ids: list[int] = []
    offsets: list[int] = []
    for index, character in enumerate(text):
        for byte in character.encode():
            ids.append(byte)
            offsets.append(start + index)
    return Delta(text, tuple(ids), tuple(offsets))


def prompt_text(request: GenerateRequest) -> str:
    return ByteCodec(ModelKind.CHAT).decode(request.prompt_ids)


def echo(request: GenerateRequest) -> Iterator[Step]:
    """The default script: says the last line of the prompt back, word by word."""
    lines = [line for line in prompt_text(request).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line != "assistant"), "")
    yield from re.findall(r"\S+\s*", f"You said: {said}")


class FakeEngine:
    """`script` decides what each request streams. `requests` and `cancelled` (request ids) record
    what happened, `questions` what it was asked; `saved` names the sessions of which it keeps
    something; `loaded` the models that were asked into memory, and `busy` those that cannot go;
    `delay` seconds pass before each piece of text; `deterministic` is what it says of itself.
    """

    def __init__(
        self, script: Script = echo, *, delay: float = 0.0, context_length: int = 4096
    ) -> None:
        self.script = script
        self.delay = delay
        self.deterministic = False
        self.requests: list[GenerateRequest] = []
        self.cancelled: list[str] = []
        self.started = False
        self.saved: set[str] = set()
        self.questions: list[Question] = []
        self.loaded: set[str] = set()
        self.busy: set[str] = set()
        self.kept_alive_s: float | None = None
        self.codecs = {
            "chat": ByteCodec(ModelKind.CHAT, context_length=context_length),
            "story": ByteCodec(ModelKind.COMPLETION, context_length=context_length),
        }

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.started = False

    def defaults(self, model: str) -> SamplingParams:
        return SamplingParams(temperature=0.5) if model in self.codecs else SamplingParams()

    def models(self) -> list[ModelInfo]:
        defaults = SamplingParams(temperature=0.5)
        languages = ("en",)
        return [
            ModelInfo(
                "chat", "Fake chat", ModelKind.CHAT, languages, "MIT", "ready", defaults=defaults
            ),
            ModelInfo(
                "story",
                "Fake story",
                ModelKind.COMPLETION,
                languages,
                "MIT",
                "ready",
                defaults=defaults,
            ),
            ModelInfo(
                "absent", "Absent", ModelKind.CHAT, languages, "MIT", "missing", "not downloaded"
            ),
        ]

    async def status(self) -> EngineStatus:
        """One model, loaded under two names."""
        model = ModelStatus(("chat", "story"), "ready", "cpu", 700_000_000, stays_s=90.0)
        return EngineStatus((model,), budget=1_000_000_000)

    async def load(self, model: str) -> None:
        await self.codec(model)
        self.loaded.add(model)

    async def unload(self, model: str) -> None:
        if model in self.busy:
            raise ModelBusy(model)
        self.loaded.discard(model)

    def keep_alive(self, seconds: float) -> None:
        self.kept_alive_s = seconds

    async def codec(self, model: str) -> ByteCodec:
        if model in self.codecs:
            return self.codecs[model]
        if model == "absent":
            raise ModelUnavailable("The files of 'absent' are missing.", model=model)
        raise ModelNotFound(model, sorted([*self.codecs, "absent"]))

    async def saved_sessions(self) -> set[str]:
        return set(self.saved)

    def forget(self, sessions: Iterable[str]) -> Future[None]:
        self.saved -= set(sessions)
        gone: Future[None] = Future()
        gone.set_result(None)
        return gone

    async def examine(self, model: str, question: Question) -> Examined:
        """Every token was one of two, and the likelier one. A text's vector points to how long it
        is."""
        self.questions.append(question)
        if isinstance(question, TraceRequest):
            return TRACE
        if isinstance(question, Scoring):
            return Scored(_told(question.ids[1:], question.top))
        if isinstance(question, Embedding):
            return Embedded(tuple(map(_vector, question.texts)))
        return Inspected(tuple(map(_odds, question.ids[question.first :])))

    async def stream(
        self, request: GenerateRequest, take: Take | None = None
    ) -> AsyncGenerator[EngineEvent, None]:
        if not self.started:
            raise EngineStopped("The engine is not running.")
        self.requests.append(request)
        try:
            async for event in self._play(request):
                if take is not None and isinstance(event, Delta):
                    try:
                        take(event)
                    except Exception:
                        self.cancelled.append(request.request_id)
                        raise
                else:
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.append(request.request_id)
            raise

    async def _play(self, request: GenerateRequest) -> AsyncGenerator[EngineEvent, None]:
        tokens, length, began = 0, 0, False
        for step in self.script(request):
            if isinstance(step, asyncio.Event):
                await step.wait()
                continue
            if isinstance(step, Exception):
                raise step
            if isinstance(step, str):
                await asyncio.sleep(self.delay)
            event = text_delta(step, length) if isinstance(step, str) else step
            if isinstance(event, Delta):
                if request.logprobs is not None:
                    told = _told(event.token_ids, request.logprobs)
                    event = event._replace(logprobs=told)
                length += len(event.text)
                tokens += len(event.token_ids)
                if not began:
                    began = True
                    yield Began(SETUP, self.deterministic)
            yield event
            limit = request.sampling.max_tokens
            if limit is not None and tokens >= limit:
                yield self._finished(request, "length", tokens)
                return
        told = () if request.logprobs is None else _told((END,), request.logprobs)
        yield Delta("", (END,), (length,), told)
        yield self._finished(request, "stop", tokens + 1)

    def _finished(self, request: GenerateRequest, reason: FinishReason, tokens: int) -> Finished:
        seed = request.sampling.seed
        return Finished(
            reason=reason,
            prompt_tokens=len(request.prompt_ids),
            output_tokens=tokens,
            cached_tokens=0,
            seed=42 if seed is None else seed,
            timings=Timings(queue_s=0.001, prefill_s=0.002, decode_s=0.003),
        )


def _odds(token: int) -> TokenOdds:
    taken, other = Alternative(token, 0.75, 1.0), Alternative((token + 1) % START, 0.25, 0.0)
    return TokenOdds(taken, rank=1, entropy=0.81, alternatives=(taken, other))


def _told(ids: tuple[int, ...], top: int) -> tuple[TokenLogprobs, ...]:
    return tuple(
        TokenLogprobs(id, LIKELY, 1, ((id, LIKELY), ((id + 1) % START, UNLIKELY))[:top])
        for id in ids
    )


def _vector(ids: tuple[int, ...]) -> tuple[float, ...]:
    angle = 1 / len(ids)
    return math.cos(angle), math.sin(angle)


def by_prompt(request: GenerateRequest) -> Iterator[Step]:
    """For a server in a subprocess: the prompt says what happens.

    `forever` counts without end, `fail` breaks after a few words, `queue` shows waiting and
    progress first; everything else is echoed.
    """
    text = prompt_text(request)
    if "forever" in text:
        number = 0
        while True:
            number += 1
            yield f"{number} "
    elif "fail" in text:
        yield "This will "
        yield "not end "
        yield RuntimeError("the script failed")
    else:
        if "queue" in text:
            yield Queued(position=1)
            yield Loading(done=2, total=5)
            yield PromptProgress(done=1, total=2)
        yield from echo(request)


def build() -> FakeEngine:
    """`TINYLLM_ENGINE_FACTORY=tests.fake_engine.build`: a server without weights."""
    return FakeEngine(by_prompt, delay=0.005)
