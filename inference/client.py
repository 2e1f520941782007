"""The one door between the site and the engine.

`EngineClient` is what the site sees. `inference.engine_thread` implements it on a thread of the
server's own process, `inference.engine_process` in a process beside it. Importing this module loads
neither torch nor any weights.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from inference.examination import Examined, Question
from inference.token_bytes import TokenBytes
from inference.types import (
    EngineEvent,
    EngineStatus,
    GenerateRequest,
    ModelFingerprint,
    ModelInfo,
    ModelKind,
    SamplingParams,
    Take,
)


class PromptCodec(Protocol):
    """Text to tokens and back for one model: its tokenizer and its chat template. Pure, no torch.

    Thread-safe; every method may be called from the event loop (about 1 ms per 1,000 tokens).
    """

    @property
    def kind(self) -> ModelKind: ...
    @property
    def context_length(self) -> int: ...
    @property
    def fingerprint(self) -> ModelFingerprint: ...
    @property
    def eos_ids(self) -> frozenset[int]: ...
    @property
    def token_bytes(self) -> TokenBytes | None:
        """What each token stands for, where that does not depend on what is around it."""

    @property
    def tools_template(self) -> str:
        """The chat template's text, if it says something about tools, else ''."""

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> str:
        """The chat template over [{role, content}, ...] as text, special tokens written out.
        tools: as OpenAI describes them, for a template that takes them."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of text. Special tokens written out in the text become their ids."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""

    def tokenizer_json(self) -> str:
        """The tokenizer, as tokenizer.json has it."""

    def name(self, id: int) -> str:
        """What the vocabulary calls a token, as it stands there; '' for an id without one."""


class EngineClient(Protocol):
    async def start(self) -> None:
        """Bring the engine up. Models load on their first use."""

    async def stop(self) -> None:
        """Cancel what runs, end the engine and wait for it."""

    def models(self) -> list[ModelInfo]:
        """The catalogue with each model's state on this disk, which is read for it."""

    def defaults(self, model: str) -> SamplingParams:
        """The sampling that the catalogue names for this model. Reads nothing."""

    async def status(self) -> EngineStatus:
        """The models in memory, and what they do at this moment. Raises EngineError."""

    async def load(self, model: str) -> None:
        """Have it in memory, as a request would: idle models make room, and busy ones are waited
        for. Raises EngineError."""

    async def unload(self, model: str) -> None:
        """Have it out of memory, and its files read afresh next time. Raises ModelBusy while
        somebody uses it, and EngineError."""

    def keep_alive(self, seconds: float) -> None:
        """How long models stay from now on that nobody asks for; 0: for ever."""

    async def codec(self, model: str) -> PromptCodec:
        """Tokenizer and template. Raises ModelNotFound, ModelUnavailable (and its subclasses)."""

    async def saved_sessions(self) -> set[str]:
        """Sessions of which something is kept on disk, deleted ones as well."""

    def forget(self, sessions: Iterable[str]) -> Future[None]:
        """These sessions were deleted. Done when none of their text is found in a cache, and their
        files are gone. May be called from any thread. Raises EngineStopped; the future raises
        EngineError, and then nothing may have happened."""

    async def examine(self, model: str, question: Question) -> Examined:
        """What a question about the model's numbers comes to: an Inspection is answered by an
        Inspected, a TraceRequest by a Trace. The model is loaded for it; whoever generates goes on
        meanwhile. Raises EngineError."""

    def stream(
        self, request: GenerateRequest, take: Take | None = None
    ) -> AsyncGenerator[EngineEvent, None]:
        """Events of one request, `Began` before its first delta, `Finished` last. Closing the
        iterator (aclose) cancels: the engine computes at most one more decode step. Raises
        EngineError. A reader that is slow gets joined deltas; the engine never waits for it.

        take: is given the deltas, which are not among the events then: mostly at once as they come,
        without a task that has to be woken for each. What it raises, the iterator raises."""
