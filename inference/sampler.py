"""The next token from a row of logits.

The stages, in this order: the mask of a grammar; logit bias; repetition penalty (divides positive,
multiplies negative logits of every token seen so far); presence and frequency penalties (of tokens
in the answer); temperature; top-k; top-p; min-p; one draw. Temperature 0 takes the largest logit
after the penalties. The draw inverts the cumulative distribution at one uniform number that is a
function of seed and position alone (`uniform`), so that a seed gives the same text on any machine
whose logits agree, at any batch size, and an answer that is continued goes on as if it had not
paused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.constraints.matcher import Mask, allowed
from inference.logprobs import TokenLogprobs
from inference.types import SamplingParams

Array = np.ndarray[Any, np.dtype[Any]]
_Counter = tuple[int, int, int, int]

# A distribution is looked at through its largest entries first: sorting all is seldom needed.
_HEAD = 1024


def sample(
    logits: Array,
    params: SamplingParams,
    *,
    prompt: list[int],
    output: list[int],
    seed: int,
) -> int:
    """logits fp32[V] -> a token id. prompt and output are the tokens so far, where output is the
    whole answer, also what an earlier request wrote of it."""
    logits = _adjusted(logits, params, prompt, output)
    if params.temperature == 0:
        return int(logits.argmax())
    ids, weights = _candidates(_weights(logits, params.temperature), params)
    cumulative = np.cumsum(weights)
    point = uniform(seed, len(prompt) + len(output)) * cumulative[-1]
    return int(ids[np.searchsorted(cumulative, point, side="right")])


def distribution(
    logits: Array,
    params: SamplingParams,
    *,
    prompt: list[int],
    output: list[int],
) -> Array:
    """fp64[V]: with what probability `sample` takes each token."""
    logits = _adjusted(logits, params, prompt, output)
    found = np.zeros(logits.size)
    if params.temperature == 0:
        found[logits.argmax()] = 1
    else:
        ids, weights = _candidates(_weights(logits, params.temperature), params)
        found[ids] = weights / weights.sum()
    return found


def logprobs(logits: Array, token: int, top: int) -> TokenLogprobs:
    """What is told of a token that came after logits fp32[V]."""
    largest = _largest(logits, min(top, logits.size)) if top else ()
    scale = np.log(np.exp(logits.astype(np.float64) - logits.max()).sum()) + logits.max()
    return TokenLogprobs(
        token,
        float(logits[token] - scale),
        1 + int((logits > logits[token]).sum()),
        tuple((int(id), float(logits[id] - scale)) for id in largest),
    )


def uniform(seed: int, position: int) -> float:
    """A number in (0, 1), the same for the same seed and position."""
    low, high = _halves(position)
    return (philox((low, high, 0, 0), _halves(seed))[0] + 0.5) / 2**32


def philox(counter: _Counter, key: tuple[int, int]) -> _Counter:
    """Philox-4x32-10 (Salmon et al., 2011): four random 32-bit numbers for each counter."""
    for _ in range(10):
        high_0, low_0 = divmod(counter[0] * 0xD2511F53, 2**32)
        high_2, low_2 = divmod(counter[2] * 0xCD9E8D57, 2**32)
        counter = (high_2 ^ counter[1] ^ key[0], low_2, high_0 ^ counter[3] ^ key[1], low_0)
        key = ((key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32)
    return counter


def _halves(number: int) -> tuple[int, int]:
    """The low and the high 32 bits."""
    return number % 2**32, (number >> 32) % 2**32


def masked(logits: Array, mask: Mask | None) -> Array:
    """Without those that may not come, where a grammar says so."""
    if mask is None:
        return logits
    left: Array = np.where(allowed(mask, logits.size), logits, np.float32(-np.inf))
    return left


def _adjusted(logits: Array, params: SamplingParams, prompt: list[int], output: list[int]) -> Array:
    if params.logit_bias or _has_penalty(params):
        return _penalized(logits, params, prompt, output)
    return logits


def _weights(logits: Array, temperature: float) -> Array:
    """The largest logit becomes 0, so that exp neither overflows nor loses it."""
    with np.errstate(over="ignore"):  # next to temperature 0 the others become -inf
        weights: Array = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return weights


def _has_penalty(params: SamplingParams) -> bool:
    neutral = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
    return neutral != (1.0, 0.0, 0.0)


def _penalized(
    logits: Array, params: SamplingParams, prompt: list[int], output: list[int]
) -> Array:
    logits = logits.copy()
    for token, bias in params.logit_bias.items():
        logits[token] += bias
    if params.repetition_penalty != 1:
        seen = np.unique(np.array(prompt + output, dtype=np.int64))
        values, factor = logits[seen], params.repetition_penalty
        logits[seen] = np.where(values > 0, values / factor, values * factor)
    if output:
        tokens, counts = np.unique(np.array(output, dtype=np.int64), return_counts=True)
        logits[tokens] -= params.presence_penalty + params.frequency_penalty * counts
    return logits


def _candidates(weights: Array, params: SamplingParams) -> tuple[Array, Array]:
    """Token ids that may be drawn, and their unnormalized probabilities; largest first where
    top-k or top-p ask for an order, equals by id."""
    ids = np.arange(weights.size)
    if 0 < params.top_k < weights.size:
        ids = _largest(weights, params.top_k)
    if params.top_p < 1:
        ids = _nucleus(weights, ids, params.top_p)
    if params.min_p > 0:
        ids = ids[weights[ids] >= params.min_p * weights.max()]
    return ids, weights[ids]


def _largest(weights: Array, count: int) -> Array:
    """Ids of the `count` largest weights, in falling order, equals by id."""
    threshold = np.partition(weights, weights.size - count)[weights.size - count]
    ids = np.flatnonzero(weights >= threshold)
    return ids[np.argsort(-weights[ids], kind="stable")][:count]


def _nucleus(weights: Array, ids: Array, top_p: float) -> Array:
    """The fewest most likely of `ids` that together reach top_p of their weight."""
    wanted = top_p * weights[ids].sum()
    if ids.size == weights.size and ids.size > _HEAD:
        head = _largest(weights, _HEAD)
        ids = head if weights[head].sum() >= wanted else _largest(weights, weights.size)
    elif ids.size == weights.size:
        ids = _largest(weights, ids.size)
    count = int(np.searchsorted(np.cumsum(weights[ids]), wanted, side="left")) + 1
    return ids[:count]
