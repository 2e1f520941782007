"""Log probabilities with torch, where the logits are: of a prompt's tokens, and of sampled ones on
their way from a GPU to the host."""

from __future__ import annotations

import torch

from inference.logprobs import TokenLogprobs


def logprobs_of(
    logits: torch.Tensor, tokens: torch.Tensor, top: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """logits fp32[R, V], tokens int64[R] that came after them -> fp32[R, 1 + K], of each token and
    of the K most likely ones, and int64[R, 2 + K]: the token, its rank, and those ones. K is `top`,
    as far as there are so many."""
    tokens = tokens[:, None]
    chosen = logits.gather(-1, tokens.clamp(min=0))  # below 0: none could be sampled
    ranks = (logits > chosen).sum(-1, keepdim=True) + 1
    values, ids = logits.topk(min(top, logits.shape[-1]))
    found = torch.cat([chosen, values], -1) - logits.logsumexp(-1, keepdim=True)
    return found, torch.cat([tokens, ranks, ids], -1)


def as_told(found: torch.Tensor, numbers: torch.Tensor, tops: list[int]) -> list[TokenLogprobs]:
    """What `logprobs_of` gave, on the host. tops: how many likelier ones each row is told with."""
    told = []
    for values, (token, rank, *ids), top in zip(
        found.tolist(), numbers.tolist(), tops, strict=True
    ):
        likely = zip(ids[:top], values[1 : top + 1], strict=True)
        told.append(TokenLogprobs(token, values[0], rank, tuple(likely)))
    return told


class AskedLogprobs:
    """Of one step, the rows that somebody wants to be told of, by seat."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[torch.Tensor, int]] = {}
        self._copies: list[torch.Tensor] = []
        self._told: dict[int, TokenLogprobs] = {}

    def add(self, seat: int, logits: torch.Tensor, top: int) -> None:
        """logits fp32[V]: raw, and to be left alone until `fetch`."""
        self._rows[seat] = logits, top

    def fetch(self, sampled: torch.Tensor) -> None:
        """Begin to copy to the host what is told of the tokens int32[seats] that were sampled. It
        is there when all that was launched on this stream is done."""
        if not self._rows:
            return
        seats = torch.tensor(list(self._rows), device=sampled.device)
        logits = torch.stack([row for row, _top in self._rows.values()])
        most = max(top for _row, top in self._rows.values())
        for part in logprobs_of(logits, sampled[seats].long(), most):
            host = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
            self._copies.append(host.copy_(part, non_blocking=True))

    def of(self, seat: int) -> TokenLogprobs:
        """Once the copy has arrived."""
        if not self._told:
            found, numbers = self._copies
            tops = [top for _row, top in self._rows.values()]
            told = as_told(found, numbers, tops)
            self._told = dict(zip(self._rows, told, strict=True))
        return self._told[seat]
