"""What all replies are made of: the text and numbers of answers, and their common fields."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chat import engine
from chat.v1.running import Asked, Event, Refused
from inference.types import Delta, Finished, TokenLogprobs


@dataclass(slots=True)
class Answer:
    """One answer so far. logprobs and offsets: of its tokens, where they are asked for; prompt: of
    the prompt's, with the first answer to it. finished: its numbers, when it has ended well."""

    text: str = ""
    tokens: int = 0
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    prompt: tuple[TokenLogprobs, ...] | None = None
    finished: Finished | None = None
    refused: bool = False

    def take(self, event: Event) -> str:
        """What is new of the text."""
        if isinstance(event, Delta):
            self.text += event.text
            self.tokens += len(event.token_ids)
            self.logprobs += event.logprobs
            self.offsets += event.offsets
            return event.text
        if isinstance(event, Finished):
            self.finished = event
        elif isinstance(event, engine.Scored):
            self.prompt = event.tokens
        elif isinstance(event, Refused):
            self.refused = True
        return ""

    def stop(self) -> None:
        """After its end: what was to come of it does not."""
        if self.finished is not None:
            self.finished = replace(self.finished, reason="cancelled")

    @property
    def finish_reason(self) -> str:
        if self.refused:
            return "content_filter"
        return "length" if self.finished and self.finished.reason == "length" else "stop"

    def timings(self) -> dict[str, Any]:
        """As llama.cpp tells them. prompt_n: tokens that had to be computed, cache_n: that had
        not."""
        done = self.finished
        if done is None:
            return {}
        cached, read = done.cached_tokens, done.prompt_tokens - done.cached_tokens
        prompt_ms, decode_ms = 1e3 * done.timings.prefill_s, 1e3 * done.timings.decode_s
        told = {
            "cache_n": cached,
            "prompt_n": read,
            "prompt_ms": round(prompt_ms, 3),
            **_paces("prompt", read, prompt_ms),
            "predicted_n": done.output_tokens,
            "predicted_ms": round(decode_ms, 3),
            **_paces("predicted", done.output_tokens, decode_ms),
            "queue_ms": round(1e3 * done.timings.queue_s, 3),
        }
        if done.drafted_tokens:
            told |= {"draft_n": done.drafted_tokens, "draft_n_accepted": done.accepted_tokens}
        return told


def _paces(name: str, tokens: int, ms: float) -> dict[str, float]:
    each = ms / tokens if tokens else 0.0
    per_second = 1e3 * tokens / ms if ms else 0.0
    return {f"{name}_per_token_ms": round(each, 3), f"{name}_per_second": round(per_second, 3)}


@dataclass(slots=True)
class Answers:
    """All answers of one call, by index."""

    asked: Asked
    each: list[Answer] = field(init=False)

    def __post_init__(self) -> None:
        self.each = [Answer() for _ in range(len(self.asked.prompts) * self.asked.copies)]

    def prompt(self, index: int) -> tuple[TokenLogprobs, ...] | None:
        """Of the prompt of an answer, what the first answer to it was told."""
        return self.each[index - index % self.asked.copies].prompt

    def cached_tokens(self) -> int:
        """Of each prompt once: its first answer's, the others found what that one has read."""
        first = self.each[:: self.asked.copies]
        return sum(answer.finished.cached_tokens for answer in first if answer.finished)

    def usage(self) -> dict[str, Any]:
        read = sum(map(len, self.asked.prompts))
        written = sum(answer.tokens for answer in self.each)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens()},
        }


@dataclass(frozen=True, slots=True)
class Head:
    """The fields that a reply and each of its chunks begin with."""

    id: str
    model: str
    system_fingerprint: str
    created: int = field(default_factory=lambda: int(time.time()))

    def under(self, kind: str, choices: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
            "choices": list(choices),
            **more,
        }


def system_fingerprint(codec: engine.PromptCodec) -> str:
    """Changes when weights, tokenizer, template or precision do."""
    parts = sorted(engine.fingerprint(codec).items())
    return "fp_" + hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
