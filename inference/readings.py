"""What runners make of a text beside writing on: how likely each of its tokens was, and its vector.
The same on every device, from the architecture's own passes."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as PySequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch

from inference.architectures import Architecture
from inference.batch import ForwardBatch
from inference.device_logprobs import as_told, logprobs_of
from inference.logprobs import TokenLogprobs
from inference.scheduler import Chunk
from kernels import CacheLayer


class TextReader:
    """A part of a runner. See `inference.runner.Runner`."""

    _architecture: Architecture
    _caches: list[CacheLayer]

    def _read_as(self, chunks: tuple[Chunk, ...]) -> ForwardBatch:
        """The tensors that describe such a step."""
        raise NotImplementedError

    def _guarded(self) -> AbstractContextManager[None]:
        """Turns errors of the device into those of a runner."""
        return nullcontext()

    @torch.inference_mode()
    def score(self, chunk: Chunk, tokens: PySequence[int], top: int) -> list[TokenLogprobs]:
        with self._guarded():
            batch = replace(self._read_as((chunk,)), logit_rows=None)
            logits = self._architecture.forward(batch, self._caches)[: len(tokens)]
            came = torch.tensor(tokens, device=logits.device)
            found, numbers = logprobs_of(logits, came, top)
            return as_told(found.cpu(), numbers.cpu(), [top] * len(tokens))

    @torch.inference_mode()
    def state_sums(self, chunks: tuple[Chunk, ...]) -> torch.Tensor:
        with self._guarded():
            states = self._architecture.states(self._read_as(chunks), self._caches)
            parts = states.split([chunk.size for chunk in chunks])
            return torch.stack([part.sum(0) for part in parts]).cpu()

    @torch.inference_mode()
    def residual(self, chunk: Chunk) -> Iterator[torch.Tensor]:
        with self._guarded():
            batch = self._read_as((chunk,))
            for stream in self._architecture.residual(batch, self._caches):
                yield stream.float().cpu().clone()
