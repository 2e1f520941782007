"""A request in the engine as the site shows it: numbers, and no word of its text. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """read: tokens of the prompt that are in the cache by now, of which `cached` were there before.
    age_s: since it arrived. tokens_per_s: of its answer, after the first token; 0 before."""

    request_id: str
    tenant: str
    state: Literal["running", "waiting"]
    prompt_tokens: int
    read_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    age_s: float = 0.0
    tokens_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What an engine has done since its model was loaded. requests: that are over, however they
    ended. prompt_tokens: that were read, not those that were in the cache. preemptions: how often a
    request was put aside for others."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The process that computes. memory: bytes of RAM that it holds. gpu_used: bytes of the GPU's
    memory that anybody holds, of gpu_total; both 0 where no GPU computes."""

    pid: int
    memory: int
    gpu_used: int = 0
    gpu_total: int = 0
