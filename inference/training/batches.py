"""Which tokens each step learns from: a function of the seed and the step alone, so that a run
that is resumed reads on where it was.

Documents are packed one after another and cut into windows of the context, without a mask between
them: <|endoftext|> is what tells a model that what came before does not matter. In each pass over
the data the cuts begin at another offset, and the windows come in another order.
"""

from __future__ import annotations

import numpy as np
import torch

from inference.training.errors import TrainingError
from inference.training.model import IGNORED
from inference.training.shards import Array

_KEPT_EPOCHS = 2


class Windows:
    """Tokens on a device, read as windows. 16-bit ids lie there as int16."""

    def __init__(
        self, tokens: Array, learned: Array | None, context: int, device: torch.device
    ) -> None:
        """Raises TrainingError where there are not enough tokens for one window."""
        if tokens.size < context + 1:
            raise TrainingError(
                f"There are {tokens.size:,} tokens, and one window is {context + 1:,}: "
                "use more text or a shorter context."
            )
        self._tokens = torch.from_numpy(tokens.view(np.int16)).to(device)
        self._learned = None if learned is None else torch.from_numpy(learned).to(device)
        self._span = torch.arange(context + 1, device=device)
        self.context = context
        self.last_start = tokens.size - context - 1

    def read(self, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and targets, int64[B, T], of windows that begin at starts int64[B]."""
        places = starts[:, None] + self._span
        window = self._tokens[places].long() & 0xFFFF
        targets = window[:, 1:]
        if self._learned is not None:
            targets = targets.masked_fill(~self._learned[places[:, 1:]], IGNORED)
        return window[:, :-1].contiguous(), targets.contiguous()

    def learned(self, starts: torch.Tensor) -> torch.Tensor | int:
        """How many targets of the windows count."""
        if self._learned is None:
            return starts.numel() * self.context
        return self._learned[starts[:, None] + self._span[1:]].sum()

    def in_order(self, most: int) -> torch.Tensor:
        """Starts of at most so many windows that do not overlap, from the beginning."""
        count = min(most, self.last_start // self.context + 1)
        return torch.arange(max(1, count), device=self._tokens.device) * self.context


class Order:
    """The starts of each step's windows."""

    def __init__(self, windows: Windows, batch: int, seed: int, device: torch.device) -> None:
        self._context, self._batch, self._seed = windows.context, batch, seed
        self._device = device
        # one window less than fit, so that there is an offset to choose
        self.windows = max(1, windows.last_start // windows.context)
        self._slack = windows.last_start - (self.windows - 1) * windows.context
        self._epochs: dict[int, torch.Tensor] = {}

    def starts(self, step: int) -> torch.Tensor:
        """int64[batch], on the device."""
        first = step * self._batch
        pieces = []
        while first < (step + 1) * self._batch:
            epoch, place = divmod(first, self.windows)
            count = min(self.windows - place, (step + 1) * self._batch - first)
            pieces.append(self._epoch(epoch)[place : place + count])
            first += count
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self._epochs:
            random = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            offset = torch.randint(self._slack + 1, (1,), generator=random)
            order = torch.randperm(self.windows, generator=random)
            while len(self._epochs) >= _KEPT_EPOCHS:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = (offset + order * self._context).to(self._device)
        return self._epochs[epoch]
