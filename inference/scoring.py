"""What a model would have thought of a text that somebody else wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.errors import ContextLengthExceeded
from inference.offline import OfflineModel
from inference.runner import Array
from inference.scheduler import Chunk
from inference.sequence import Sequence as Tokens
from inference.types import GenerateRequest

_PIECE = 512
"""Tokens that are read at once: what a step may take is bounded by memory."""


def log_probabilities(model: OfflineModel, prompt: Sequence[int], answer: Sequence[int]) -> Array:
    """fp64[len(answer)]: of each token of the answer after the prompt and those before it, in
    nats. What the engine has read before is taken from its cache, and what is read here is left
    there; the engine must be idle. Raises ContextLengthExceeded."""
    length = len(prompt) + len(answer)
    limit = min(model.runner.config.context_length, model.options.kv_tokens)
    if length > limit:
        raise ContextLengthExceeded(length, limit)
    cache = model.engine.cache
    sequence = Tokens(GenerateRequest("scoring", "", tuple(prompt)), length, 0, 0)
    if not cache.admit(sequence, length):
        raise ContextLengthExceeded(length, cache.free_blocks)
    try:
        found = []
        for token in answer:
            found.append(_log_softmax(_next_logits(model, sequence))[token])
            sequence.tokens.append(token)
        return np.array(found)
    finally:
        cache.release(sequence)


def _next_logits(model: OfflineModel, sequence: Tokens) -> Array:
    while True:
        chunk = Chunk(sequence, min(sequence.pending, _PIECE))
        completes = chunk.completes
        rows = model.runner.run((chunk,))
        sequence.computed += chunk.length
        model.engine.cache.publish(sequence)
        if completes:
            row: Array = rows[0].astype(np.float64)
            return row


def _log_softmax(row: Array) -> Array:
    shifted = row - row.max()
    result: Array = shifted - np.log(np.exp(shifted).sum())
    return result
