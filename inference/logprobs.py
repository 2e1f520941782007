"""How likely a token was, as it is told beside an answer or a prompt. No torch here.

The numbers are those of the model: the log-softmax, in nats, of the raw logits, before any stage of
the sampler (vLLM's `raw_logprobs`).
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LOGPROBS = 20
"""Likelier tokens that are told of beside each one."""


class TokenLogprobs(NamedTuple):
    """A token that was written or read at its place, its log probability there, and its rank: 1 for
    the most likely one. top: ids and log probabilities of the most likely ones, largest first."""

    id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]
