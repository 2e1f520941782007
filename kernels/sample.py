"""sample: the next token of each row of logits, and the step forward of the rows that decode.

The stages, in this order: logit bias, repetition penalty, presence and frequency penalties,
temperature, top-k, top-p, min-p, one draw. What a request asks for is put into the table when it
takes a seat; from then on nothing comes from the host, so that a step can be replayed as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from kernels.shapes import check_shapes

Array = np.ndarray[Any, np.dtype[Any]]

# How one seat samples, as csrc/sampled_row.cuh reads it.
SEAT = np.dtype(
    [(name, "f8") for name in ("temperature", "top_p", "min_p", "repetition", "presence")]
    + [("frequency", "f8"), ("top_k", "i8"), ("seed", "i8")]
)
GREEDY = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0, 0)
IN_PROMPT = -(2**31)  # in a count: the token is in the prompt
MAX_VOCAB = 2**18


class Sampling(Protocol):
    """What a request may ask for. temperature 0 is greedy; top_k 0, top_p 1, min_p 0,
    repetition_penalty 1, presence_penalty 0 and frequency_penalty 0 are off."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def presence_penalty(self) -> float: ...
    @property
    def frequency_penalty(self) -> float: ...
    @property
    def logit_bias(self) -> Mapping[int, float]: ...


class Layout(NamedTuple):
    """What a captured step depends on beside its shapes: whether any seat draws, whether there
    are counts, and for how many biases there is room. Where it changes, capture anew."""

    draws: bool
    counts: bool
    biases: int


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """What a decode step reads, row by row, moved on to the next step once its token is known.

    positions, slots int64[R]; block_tables int32[R, W], negative where there is no block. A row
    that fails, or has no block for its next token, becomes padding: context 0, slot -1.
    """

    positions: torch.Tensor
    slots: torch.Tensor
    block_tables: torch.Tensor
    block_size: int


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Who the rows of logits belong to.

    seats int32[R], all different; context_lens int32[R]: tokens known so far, which is also the
    new token's position in the stream of random numbers; 0: padding, left alone. decode: only
    for rows of a decode step; then context_lens grows too.
    """

    seats: torch.Tensor
    context_lens: torch.Tensor
    decode: DecodeRows | None = None


class SamplingTable:
    """How each seat samples, and what it drew last.

    sampled int32[seats]: the last token of each seat, -1 where its logits were not finite.
    how uint8[seats, 64]: `host` on the device. counts int32[seats, vocab]: how often a token came
    in the answer, plus IN_PROMPT; None until a request has penalties. bias_ids int32 and
    bias_values fp32 [seats, n], -1 past the end; None until a request has a bias.
    """

    def __init__(self, seats: int, vocab: int, device: torch.device | str = "cpu") -> None:
        if not 0 < vocab <= MAX_VOCAB:
            raise ValueError(f"SamplingTable: vocab = {vocab}, allowed are 1 to {MAX_VOCAB}")
        self.seats, self.vocab, self.device = seats, vocab, torch.device(device)
        self.host = np.full(seats, np.array(GREEDY, dtype=SEAT))
        self.how = torch.from_numpy(self.host.view(np.uint8).reshape(seats, -1)).to(
            self.device, copy=True
        )
        self.sampled = torch.zeros(seats, dtype=torch.int32, device=self.device)
        self.counts: torch.Tensor | None = None
        self.bias_ids: torch.Tensor | None = None
        self.bias_values: torch.Tensor | None = None

    @property
    def layout(self) -> Layout:
        biases = 0 if self.bias_ids is None else self.bias_ids.shape[1]
        draws = bool((self.host["temperature"] != 0).any())
        return Layout(draws, self.counts is not None, biases)

    def join(
        self, seat: int, how: Sampling, *, seed: int, prompt: Sequence[int], output: Sequence[int]
    ) -> None:
        """A request takes the seat. prompt and output: its tokens so far. seed: below 2^63.
        Raises ValueError for a seat or a biased token that does not exist."""
        if not 0 <= seat < self.seats:
            raise ValueError(f"SamplingTable: seat {seat}, allowed are 0 to {self.seats - 1}")
        penalties = (how.repetition_penalty, how.presence_penalty, how.frequency_penalty)
        cuts = (how.temperature, how.top_p, how.min_p)
        self._write(seat, (*cuts, *penalties, min(how.top_k, self.vocab), seed))
        self._set_bias(seat, how.logit_bias)
        if punishes(self.host[seat]):
            self._set_counts(seat, prompt, output)

    def leave(self, seat: int) -> None:
        """The seat is empty: greedy, so that it costs nothing."""
        self._write(seat, GREEDY)
        self._set_bias(seat, {})

    def _write(self, seat: int, values: tuple[float, ...]) -> None:
        self.host[seat] = values
        self.how[seat] = torch.from_numpy(self.host[seat : seat + 1].view(np.uint8))

    def _set_bias(self, seat: int, bias: Mapping[int, float]) -> None:
        for token in bias:
            if not 0 <= token < self.vocab:
                raise ValueError(
                    f"SamplingTable: bias of token {token}, allowed are 0 to {self.vocab - 1}"
                )
        if len(bias) > self.layout.biases:
            width = 1 << (len(bias) - 1).bit_length()
            ids, values = self.bias_ids, self.bias_values
            self.bias_ids = torch.full((self.seats, width), -1, device=self.device).int()
            self.bias_values = torch.zeros(self.seats, width, device=self.device)
            if ids is not None and values is not None:
                self.bias_ids[:, : ids.shape[1]] = ids
                self.bias_values[:, : ids.shape[1]] = values
        if self.bias_ids is not None and self.bias_values is not None:
            self.bias_ids[seat] = -1
            self.bias_ids[seat, : len(bias)] = torch.tensor(list(bias), dtype=torch.int32)
            self.bias_values[seat, : len(bias)] = torch.tensor(list(bias.values())).float()

    def _set_counts(self, seat: int, prompt: Sequence[int], output: Sequence[int]) -> None:
        if self.counts is None:
            shape = (self.seats, self.vocab)
            self.counts = torch.zeros(shape, dtype=torch.int32, device=self.device)
        row = self.counts[seat].zero_()
        answered = torch.tensor(output, dtype=torch.int64, device=self.device)
        row.index_add_(0, answered, torch.ones_like(answered, dtype=torch.int32))
        seen = torch.tensor(prompt, dtype=torch.int64, device=self.device)
        row[seen] = row[seen] | IN_PROMPT


def sample(logits: torch.Tensor, table: SamplingTable, rows: SampledRows) -> None:
    """logits fp32[R, V], of which rows with bias or penalties are left with these applied. The
    tokens go to table.sampled, of each row to its seat; -1 where the largest logit is not finite.
    """
    specs, tensors = "logits[R V] seats[R] context_lens[R]", [rows.seats, rows.context_lens]
    if rows.decode:
        specs += " positions[R] slots[R] block_tables[R W]"
        tensors += [rows.decode.positions, rows.decode.slots, rows.decode.block_tables]
    sizes = check_shapes("sample", specs, logits, *tensors)
    if sizes["V"] != table.vocab or sizes["R"] > table.seats:
        raise ValueError(
            f"sample: logits of shape {tuple(logits.shape)} do not fit a table of "
            f"{table.seats} seats and {table.vocab} tokens"
        )
    if logits.is_cuda:
        from kernels.cuda import sample as cuda

        cuda.sample(logits, table, rows)
    else:
        reference(logits, table, rows)


def reference(logits: torch.Tensor, table: SamplingTable, rows: SampledRows) -> None:
    """The same, written out in float64, on the CPU."""
    lengths = rows.context_lens.tolist()
    for row, seat in enumerate(rows.seats.tolist()):
        if lengths[row]:
            token = _next_token(logits[row].numpy(), table, seat, lengths[row])
            table.sampled[seat] = token
            if token >= 0 and table.counts is not None and punishes(table.host[seat]):
                table.counts[seat, token] += 1
            if rows.decode:
                _advance(rows, rows.decode, row, token >= 0)


def punishes(how: Any) -> bool:
    """Whether a seat has penalties, so that its tokens are counted."""
    return bool(how["repetition"] != 1 or how["presence"] != 0 or how["frequency"] != 0)


@np.errstate(over="ignore")  # next to temperature 0 all but the largest become -inf
def _next_token(logits: Array, table: SamplingTable, seat: int, position: int) -> int:
    how = table.host[seat]
    _adjust(logits, table, seat)
    if not np.isfinite(logits.max()):
        return -1
    if how["temperature"] == 0:
        return int(logits.argmax())
    weights = np.exp((logits.astype(np.float64) - logits.max()) / how["temperature"])
    ids = _candidates(weights, how)
    running = np.cumsum(weights[ids])
    point = uniform(int(how["seed"]), position) * running[-1]
    return int(ids[np.searchsorted(running, point, side="right")])


def _adjust(logits: Array, table: SamplingTable, seat: int) -> None:
    """Add bias, subtract penalties."""
    how = table.host[seat]
    if table.bias_ids is not None and table.bias_values is not None:
        used = (table.bias_ids[seat] >= 0).numpy()
        logits[table.bias_ids[seat].numpy()[used]] += table.bias_values[seat].numpy()[used]
    if table.counts is None or not punishes(how):
        return
    counts = table.counts[seat].numpy()
    answered, factor = counts & ~np.int32(IN_PROMPT), np.float32(how["repetition"])
    seen = np.flatnonzero(counts)
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / factor, logits[seen] * factor)
    seen = np.flatnonzero(answered)
    logits[seen] -= how["presence"] + how["frequency"] * answered[seen]


def _candidates(weights: Array, how: Any) -> Array:
    """Ids of those that may be drawn, in the order in which the draw counts them."""
    ids: Array = np.arange(weights.size)
    limited = 0 < how["top_k"] < weights.size
    if limited or how["top_p"] < 1:
        ids = np.argsort(-weights, kind="stable")
    if limited:
        ids = ids[: how["top_k"]]
    if how["top_p"] < 1:
        running = np.cumsum(weights[ids])
        ids = ids[: np.searchsorted(running, how["top_p"] * running[-1]) + 1]
    kept: Array = ids[weights[ids] >= how["min_p"]]
    return kept


def uniform(seed: int, position: int) -> float:
    """A number in (0, 1) made of seed and position: Philox-4x32-10 (Salmon et al., 2011)."""
    low, high = position % 2**32, position >> 32
    words = [low, high, 0, 0]
    keys = [seed % 2**32, (seed >> 32) % 2**32]
    for _ in range(10):
        left, right = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [
            right >> 32 ^ words[1] ^ keys[0],
            right % 2**32,
            left >> 32 ^ words[3] ^ keys[1],
            left % 2**32,
        ]
        keys = [(keys[0] + 0x9E3779B9) % 2**32, (keys[1] + 0xBB67AE85) % 2**32]
    return (words[0] + 0.5) / 2**32


def _advance(rows: SampledRows, decode: DecodeRows, row: int, stays: bool) -> None:
    index, offset = divmod(int(decode.positions[row]) + 1, decode.block_size)
    inside = stays and index < decode.block_tables.shape[1]
    block = int(decode.block_tables[row, index]) if inside else -1
    decode.positions[row] += 1
    rows.context_lens[row] = rows.context_lens[row] + 1 if block >= 0 else 0
    decode.slots[row] = block * decode.block_size + offset if block >= 0 else -1
