"""sample_drafts: the tokens of rows that follow each other, where what comes before is guessed.

A seat has a row for its last known token and one for each guess behind it. Every row is sampled as
if the guesses before it were tokens of the answer, all at once; what is known in the end are the
tokens up to the first one that is not what was guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels.sample import GREEDY, SampledRows, SamplingTable, punishes, sample

Array = np.ndarray[Any, np.dtype[Any]]
NO_GUESS = -2  # nothing that is sampled, not even by a row that failed


@dataclass(frozen=True, slots=True)
class DraftRows:
    """R rows, those of a seat one after the other.

    seats int64[R], and the same on the host; context_lens int32[R]: tokens before, with guesses;
    guesses int32[R]: of the token that the row samples, NO_GUESS in a seat's last one; firsts
    int64[R]: the first row of the same seat. earlier int64[2, P]: rows and, one for each guess
    before them, the guessed tokens.
    """

    on_host: Array
    seats: torch.Tensor
    context_lens: torch.Tensor
    guesses: torch.Tensor
    firsts: torch.Tensor
    earlier: torch.Tensor


class DraftTable:
    """Samples up to `rows` rows for seats of a SamplingTable."""

    def __init__(self, table: SamplingTable, rows: int) -> None:
        self._table = table
        self._rows = SamplingTable(rows, table.vocab, table.device)
        self._each = torch.arange(rows, dtype=torch.int32, device=table.device)

    def sample(self, logits: torch.Tensor, rows: DraftRows) -> torch.Tensor:
        """logits fp32[R, V], left as `sample` leaves them. int32[R]: the token of each row, -1
        where its largest logit is not finite; the next call overwrites them. The table's seats get
        what is known then: what they drew last, and counts."""
        self._copy(rows)
        count = len(rows.on_host)
        sample(logits, self._rows, SampledRows(self._each[:count], rows.context_lens))
        tokens = self._rows.sampled[:count]
        self._settle(tokens, rows)
        return tokens

    def _copy(self, rows: DraftRows) -> None:
        """How its seat samples, to each row."""
        table, own, count = self._table, self._rows, len(rows.on_host)
        own.host[:] = np.array(GREEDY, own.host.dtype)
        own.host[:count] = table.host[rows.on_host]
        own.how[:count] = table.how[rows.seats]
        if table.bias_ids is not None and table.bias_values is not None:
            own.bias_ids, own.bias_values = (
                table.bias_ids[rows.seats],
                table.bias_values[rows.seats],
            )
        own.counts = None
        if table.counts is not None and any(punishes(how) for how in own.host[:count]):
            own.counts = table.counts[rows.seats]
            _count(own.counts, *rows.earlier)

    def _settle(self, tokens: torch.Tensor, rows: DraftRows) -> None:
        """The seats go on behind the last right guess, without a word from the host."""
        wrong = (tokens != rows.guesses).int()
        wrong_before = wrong.cumsum(0) - wrong
        known = wrong_before == wrong_before[rows.firsts]
        last = known & (wrong == 1)
        sampled = self._table.sampled
        sampled.index_add_(0, rows.seats, torch.where(last, tokens - sampled[rows.seats], 0))
        if self._rows.counts is not None and self._table.counts is not None:
            counted = (known & (tokens >= 0)).int()
            _count(self._table.counts, rows.seats, tokens.clamp(min=0).long(), counted)


def _count(
    counts: torch.Tensor,
    rows: torch.Tensor,
    tokens: torch.Tensor,
    times: torch.Tensor | None = None,
) -> None:
    times = torch.ones_like(tokens, dtype=torch.int32) if times is None else times
    counts.index_put_((rows, tokens), times, accumulate=True)
