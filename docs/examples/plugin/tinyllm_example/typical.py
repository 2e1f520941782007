"""Locally typical sampling (Meister et al., 2022): the tokens whose surprise is nearest to what is
to be expected, as many as have nine tenths of the probability together. Temperature, bias and
penalties come first, as ever; temperature 0 leaves one token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from inference import sampler
from inference.types import SamplingParams

MASS = 0.9

Array = np.ndarray[Any, np.dtype[Any]]


def sample(
    logits: Array, params: SamplingParams, *, prompt: list[int], output: list[int], seed: int
) -> int:
    """logits fp32[V] -> a token id."""
    open_to_all = replace(params, top_k=0, top_p=1.0, min_p=0.0)
    chances = sampler.distribution(logits, open_to_all, prompt=prompt, output=output)
    with np.errstate(divide="ignore"):
        surprise = -np.log(chances)
    possible = chances > 0
    expected = (chances[possible] * surprise[possible]).sum()
    order = np.argsort(np.where(possible, np.abs(surprise - expected), np.inf), kind="stable")
    cumulative = np.cumsum(chances[order])
    kept = int(np.searchsorted(cumulative, MASS)) + 1
    point = sampler.uniform(seed, len(prompt) + len(output)) * cumulative[:kept][-1]
    return int(order[np.searchsorted(cumulative[:kept], point, side="right")])
