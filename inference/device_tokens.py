"""Sampled tokens on their way from a GPU to the host, and errors after which none will come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from inference.device_check import raise_if_lost
from inference.device_logprobs import AskedLogprobs
from inference.draft_checks import MOST_ROWS
from inference.logprobs import TokenLogprobs
from inference.runner import Step


class TokenCopy:
    """Pinned memory for a step's tokens. waited_s: seconds that the host has waited for them."""

    def __init__(self, seats: int, device: torch.device) -> None:
        self._device = device
        self._host = torch.empty(seats + MOST_ROWS, dtype=torch.int32, pin_memory=True)
        self._array = self._host.numpy()
        self._arrived = torch.cuda.Event()
        self.waited_s = 0.0

    def fetch(self, sampled: list[torch.Tensor], places: list[int], told: AskedLogprobs) -> Step:
        """places: of the tokens that are asked for, in these tensors laid end to end; in the first
        of them the place is a seat."""
        told.fetch(sampled[0])
        begin = 0
        for part in sampled:
            self._host[begin : begin + len(part)].copy_(part, non_blocking=True)
            begin += len(part)
        self._arrived.record()
        return SampledTokens(self, places, told)

    def wait(self) -> Any:
        start = time.perf_counter()
        with fatal_errors(self._device):
            self._arrived.synchronize()
        self.waited_s += time.perf_counter() - start
        return self._array


class SampledTokens:
    """See `inference.runner.Step`."""

    def __init__(self, results: TokenCopy, places: list[int], told: AskedLogprobs) -> None:
        self._results, self._places, self._told = results, places, told
        self._tokens: list[int] | None = None

    def token(self, index: int) -> int:
        if self._tokens is None:
            self._tokens = self._results.wait()[self._places].tolist()
        return self._tokens[index]

    def logprobs(self, index: int, token: int) -> TokenLogprobs:
        return self._told.of(self._places[index])


@contextmanager
def fatal_errors(device: torch.device) -> Iterator[None]:
    """Raises DeviceLost for an error after which nothing can be computed in this process."""
    try:
        yield
    except Exception as error:
        raise_if_lost(device, error)
        raise
