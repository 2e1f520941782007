"""The words the engine and the site exchange: requests go in, events come out.

All are frozen and validated once, where they are made. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from inference.constraints.constraint import Constraint as Constraint
from inference.logprobs import MAX_LOGPROBS as MAX_LOGPROBS
from inference.logprobs import TokenLogprobs as TokenLogprobs
from inference.model_status import EngineStatus as EngineStatus
from inference.model_status import ModelStatus as ModelStatus
from inference.parameter_checks import check, check_integer, check_number, number
from inference.request_status import Totals as Totals

MAX_STOP_STRINGS = 16
MAX_SEED = 2**63 - 1
MAX_PROMPT_LOOKUP = 16
# It is a file's name too.
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")

FinishReason = Literal["stop", "length", "cancelled"]


class ModelKind(StrEnum):
    """How a model is talked to: turns through its chat template, or plain continuation."""

    CHAT = "chat"
    COMPLETION = "completion"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is picked. The order of the stages is written in `sampler.py`.

    temperature: 0 is greedy. top_k: 0 is off. top_p: 1 is off. min_p: 0 is off.
    repetition_penalty: 1 is off (CTRL: divides positive and multiplies negative logits of every
    token in prompt or answer). presence_ and frequency_penalty: subtracted for tokens of the
    answer. seed: None lets the engine draw one, reported in `Finished.seed`.
    max_tokens: None means until the context is full. prompt_lookup: the most tokens that are
    guessed from the text so far and checked in one step (`prompt_lookup.py`); 0: none.
    constraint: the form that the answer has, and ends with.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    prompt_lookup: int = 0
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, 0, 2)
        check_integer("top_k", self.top_k, 0, None)
        check(0 < number("top_p", self.top_p) <= 1, "top_p", self.top_p, "above 0 and at most 1")
        check_number("min_p", self.min_p, 0, 1)
        check(
            0 < number("repetition_penalty", self.repetition_penalty) <= 10,
            "repetition_penalty",
            self.repetition_penalty,
            "above 0 and at most 10",
        )
        check_number("presence_penalty", self.presence_penalty, -2, 2)
        check_number("frequency_penalty", self.frequency_penalty, -2, 2)
        for token, bias in self.logit_bias.items():
            check_integer("logit_bias token", token, 0, None)
            check_number(f"logit_bias[{token}]", bias, -100, 100)
        if self.seed is not None:
            check_integer("seed", self.seed, 0, MAX_SEED)
        if self.max_tokens is not None:
            check_integer("max_tokens", self.max_tokens, 1, None)
        check(
            len(self.stop) <= MAX_STOP_STRINGS and all(self.stop),
            "stop",
            self.stop,
            f"at most {MAX_STOP_STRINGS} non-empty strings",
        )
        for token in self.stop_token_ids:
            check_integer("stop_token_ids", token, 0, None)
        check_integer("prompt_lookup", self.prompt_lookup, 0, MAX_PROMPT_LOOKUP)


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One request for one continuation.

    prompt_ids: the exact tokens the model reads. answer_start: index in `prompt_ids` at which an
    answer that is being continued begins (its bytes complete a character cut in two), or None for
    a new answer. tenant and priority are opaque to the engine's callers: fairness is by tenant,
    and a lower priority number is served first. deadline_s: seconds from its arrival after which
    it is ended, wherever it is; None: it has all the time. session: what it is a turn of, if
    anything: what was computed for it is kept on disk between starts, and dropped with it.
    logprobs: how many likelier tokens are told of beside each token and its log probability; None:
    nothing of that is computed. Nothing is guessed then (`SamplingParams.prompt_lookup`).
    """

    request_id: str
    model: str
    prompt_ids: tuple[int, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    answer_start: int | None = None
    tenant: str = "local"
    priority: int = 0
    deadline_s: float | None = None
    session: str | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        check(bool(self.prompt_ids), "prompt", list(self.prompt_ids), "at least one token")
        if self.answer_start is not None:
            check_integer("answer_start", self.answer_start, 1, len(self.prompt_ids))
        if self.deadline_s is not None:
            seconds = number("deadline_s", self.deadline_s)
            check(seconds > 0, "deadline_s", self.deadline_s, "above 0 seconds")
        if self.session is not None:
            is_name = _SESSION.fullmatch(self.session) is not None
            check(is_name, "session", self.session, "up to 64 letters, digits, - and _")
        if self.logprobs is not None:
            check_integer("logprobs", self.logprobs, 0, MAX_LOGPROBS)

    def check_vocabulary(self, size: int) -> None:
        """Raises InvalidParameter for a token that a model of so many does not have."""
        named = {
            "prompt token": self.prompt_ids,
            "logit_bias token": self.sampling.logit_bias,
            "stop_token_ids": self.sampling.stop_token_ids,
        }
        for param, tokens in named.items():
            for token in tokens:
                check(0 <= token < size, param, token, f"below the vocabulary of {size}")


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting for room. position counts from 1."""

    position: int


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """done of total prompt tokens are in the KV cache."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is on its way into memory: done of total, in bytes that are read from its files
    and then made ready."""

    done: int
    total: int


Waiting = Queued | Loading | PromptProgress
"""Said before an answer begins. Of each only the newest counts."""


class Delta(NamedTuple):
    """More of the answer. `text` may be empty while a character or a stop string is incomplete.

    token_ids are the tokens that arrived; offsets[i] is where token i's text begins, in
    characters from the beginning of this generation's text (ids and offsets are equally long, and
    so are logprobs where the request asks for them; else they are empty).
    Joining two adjacent deltas is concatenation, field by field. (A named tuple: hundreds are made
    in each step, in a third of a dataclass' time.)
    """

    text: str
    token_ids: tuple[int, ...]
    offsets: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()

    def joined(self, later: Delta) -> Delta:
        return Delta(
            self.text + later.text,
            self.token_ids + later.token_ids,
            self.offsets + later.offsets,
            self.logprobs + later.logprobs,
        )


Take = Callable[[Delta], None]
"""What is given an answer's deltas one after another, and may not wait."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, measured inside the engine: waiting, prefill (to the first token), decode."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """What computed an answer, as `EngineOptions` names it, and nothing of it "auto" that was
    decided when the model was loaded. Another setup may give other tokens."""

    device: str
    backend: str
    dtype: str
    compute: str


@dataclass(frozen=True, slots=True)
class Began:
    """Comes before the first delta. engine: what computes the answer. deterministic: no other
    request and no way of cutting the prompt has an influence on it (`EngineOptions`)."""

    engine: EngineSetup
    deterministic: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a request that ended well. stop_string is the one that ended it, if any;
    it is not part of the text. A token that ended it is part of the token ids. drafted_ and
    accepted_tokens: how many were guessed (`SamplingParams.prompt_lookup`), and how many of these
    were right."""

    reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    seed: int
    timings: Timings
    stop_string: str | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0


EngineEvent = Waiting | Began | Delta | Finished


@dataclass(frozen=True, slots=True)
class ModelFingerprint:
    """What must be the same for the same answer: sha256 of each part, as hex. stretched: the
    tokens that positions were stretched to read, in digits; empty: as the model's files say."""

    weights: str
    tokenizer: str
    template: str
    dtype: str
    stretched: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One entry of the catalogue, as a page shows it. state says why it cannot be used, if so."""

    name: str
    title: str
    kind: ModelKind
    languages: tuple[str, ...]
    license: str
    state: Literal["ready", "missing", "invalid"]
    detail: str = ""
    defaults: SamplingParams = field(default_factory=SamplingParams)
